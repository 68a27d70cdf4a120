//! What comes out of a packer, part by part.

use std::io::{self, Read as _};

use flate2::{Decompress, FlushDecompress, read::GzDecoder};
use proptest::prelude::*;

use super::*;
use crate::proxy::fixture;

fn packer() -> Packer {
    Packer::new(Rc::clone(&fixture::connection(false).worker))
}

fn data(bytes: &[u8]) -> Polled {
    Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(bytes)))))
}

/// The bytes that are ready.
fn drain(packer: &mut Packer) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(Some(Ok(frame))) = packer.ready() {
        bytes.extend_from_slice(&frame.into_data().expect("bytes"));
    }
    bytes
}

fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).map(|_| plain)
}

/// What a client that takes whatever comes has of a stream that goes on.
fn so_far(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(1 << 20);
    Decompress::new_gzip(15).decompress_vec(bytes, &mut plain, FlushDecompress::None).unwrap();
    plain
}

/// [COMP-1]: whenever the pod pauses, all that it has sent is on its way; nothing is said twice.
#[test]
fn comp_1_a_pause_sends_what_there_is() {
    let mut packer = packer();
    let mut wire = Vec::new();
    let mut plain = Vec::new();
    for part in ["data: 1\n\n", "data: 2\n\n", "x"] {
        assert!(packer.take(data(part.as_bytes())).is_ready());
        assert!(packer.ready().is_none(), "it waits for more");
        assert!(packer.take(Poll::Pending).is_ready());
        wire.extend(drain(&mut packer));
        plain.extend_from_slice(part.as_bytes());
        assert_eq!(so_far(&wire), plain);
        assert!(packer.take(Poll::Pending).is_pending(), "there is nothing more to say");
        assert!(unpacked(&wire).is_err(), "it is not over");
    }
    assert!(packer.take(Poll::Ready(None)).is_ready());
    assert!(!packer.is_done());
    wire.extend(drain(&mut packer));
    assert!(packer.is_done());
    assert!(matches!(packer.ready(), Some(None)));
    assert_eq!(unpacked(&wire).unwrap(), plain);
}

/// [COMP-1]: what was cut has no clean end, and what came before the cut arrives.
#[test]
fn comp_1_a_cut_body_stays_cut() {
    let mut packer = packer();
    assert!(packer.take(data(b"half of it")).is_ready());
    let cut = BodyError::Timeout(io::ErrorKind::TimedOut.into());
    assert!(packer.take(Poll::Ready(Some(Err(cut)))).is_ready());
    let Some(Some(Ok(frame))) = packer.ready() else { panic!("no bytes") };
    let bytes = frame.into_data().unwrap();
    assert_eq!(so_far(&bytes), b"half of it");
    assert_eq!(unpacked(&bytes).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert!(!packer.is_done());
    assert!(matches!(packer.ready(), Some(Some(Err(BodyError::Timeout(_))))));
}

/// [COMP-1]: trailers follow the end of the stream.
#[test]
fn comp_1_trailers_follow() {
    let mut packer = packer();
    let mut fields = HeaderMap::new();
    fields.insert("x-sum", "7".parse().unwrap());
    assert!(packer.take(data(b"all")).is_ready());
    assert!(packer.take(Poll::Ready(Some(Ok(Frame::trailers(fields.clone()))))).is_ready());
    let Some(Some(Ok(frame))) = packer.ready() else { panic!("no bytes") };
    assert_eq!(unpacked(&frame.into_data().unwrap()).unwrap(), b"all");
    let Some(Some(Ok(frame))) = packer.ready() else { panic!("no trailers") };
    assert_eq!(frame.into_trailers().unwrap(), fields);
    assert!(packer.is_done());
}

/// A turn is bounded, however small the parts and however well they compress.
#[test]
fn a_turn_is_bounded() {
    for size in [1, 16 * 1024] {
        let mut packer = packer();
        packer.begin_turn();
        let mut taken = 0;
        while packer.ready().is_none() {
            assert!(packer.take(data(&vec![b'a'; size])).is_ready());
            taken += 1;
        }
        assert_eq!(taken, (TURN_BYTES / size).min(TURN_FRAMES), "{size}");
    }
}

/// A worker knows how many there are.
#[test]
fn packers_are_counted() {
    let worker = Rc::clone(&fixture::connection(false).worker);
    let two = [Packer::new(Rc::clone(&worker)), Packer::new(Rc::clone(&worker))];
    assert_eq!(worker.compressing().get(), 2);
    drop(two);
    assert_eq!(worker.compressing().get(), 0);
}

proptest! {
    /// Any bytes in any parts, with pauses anywhere, come out as they were.
    #[test]
    fn comp_1_what_is_packed_is_unpacked(
        parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..3000), 0_usize..20, any::<bool>()), 0..20),
    ) {
        let mut packer = packer();
        let (mut wire, mut plain) = (Vec::new(), Vec::new());
        for (part, times, pause) in &parts {
            let part = part.repeat(*times);
            plain.extend_from_slice(&part);
            prop_assert!(packer.take(data(&part)).is_ready());
            if *pause {
                let _ready = packer.take(Poll::Pending);
            }
            wire.extend(drain(&mut packer));
        }
        prop_assert!(packer.take(Poll::Ready(None)).is_ready());
        wire.extend(drain(&mut packer));
        prop_assert!(packer.is_done());
        prop_assert_eq!(unpacked(&wire).unwrap(), plain);
    }
}
