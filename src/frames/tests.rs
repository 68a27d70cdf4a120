//! Every budget at its last allowed frame and at the one after; a naive oracle over any split.

use std::cell::Cell;

use proptest::prelude::*;

use super::*;

const PRIORITY: u8 = 2;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn begun(budgets: Http2Budgets) -> Meter {
    let mut meter = Meter::new(budgets);
    meter.inbound(PREFACE, never).unwrap();
    meter
}

/// A clock for bytes that must not ask for the time.
fn never() -> Instant {
    panic!("the clock was read")
}

/// How many times `bytes` may come before the meter objects, and with what.
fn allowed(meter: &mut Meter, bytes: &[u8]) -> (u32, Budget) {
    let now = Instant::now();
    for count in 0..20_000 {
        if let Err(budget) = meter.inbound(bytes, || now) {
            return (count, budget);
        }
    }
    panic!("no bound");
}

fn response(meter: &mut Meter) {
    meter.outbound(&frame(kind::HEADERS, flag::END_HEADERS, 1, b"\x88")).unwrap();
}

#[test]
fn the_table_of_words_is_in_the_order_of_the_variants() {
    for (index, (budget, word)) in BUDGETS.iter().enumerate() {
        assert_eq!((*budget as usize, budget.word()), (index, *word));
    }
}

/// S-34, S-36..S-38, S-41: the last frame of each budget is taken, the next one is not.
#[test]
fn s_34_to_s_41_each_budget_holds_exactly() {
    let rows: [(u8, u8, &[u8], u32, Budget); 8] = [
        (kind::RST_STREAM, 0, &[0; 4], 50, Budget::ResetsUnanswered),
        (kind::SETTINGS, 0, b"", 50, Budget::Settings),
        (kind::PING, 0, &[0; 8], 100, Budget::Pings),
        (kind::PING, flag::ACK, &[0; 8], 100, Budget::Pings),
        (kind::DATA, 0, b"", 100, Budget::EmptyFrames),
        (PRIORITY, 0, &[0; 5], 100, Budget::Ignored),
        (kind::WINDOW_UPDATE, 0, &[0, 0, 0, 1], 100, Budget::WindowUpdates),
        (kind::CONTINUATION, 0, b"x", 20, Budget::Continuations),
    ];
    for (kind, flags, payload, max, budget) in rows {
        let mut meter = begun(Http2Budgets::default());
        assert_eq!(allowed(&mut meter, &frame(kind, flags, 1, payload)), (max, budget));
        assert_eq!(meter.inbound(b"", never), Err(budget), "it stays exceeded");
    }
}

/// S-34: after a response only the window counts, and the connection's life at last.
#[test]
fn s_34_resets_count_in_a_window_and_in_a_life() {
    let reset = frame(kind::RST_STREAM, 0, 1, &[0; 4]);
    let mut meter = begun(Http2Budgets::default());
    response(&mut meter);
    assert_eq!(allowed(&mut meter, &reset), (100, Budget::Resets));

    let budgets = Http2Budgets::default();
    let (mut meter, now) = (begun(budgets), Cell::new(Instant::now()));
    response(&mut meter);
    for _ in 0..100 {
        for _ in 0..100 {
            assert_eq!(meter.inbound(&reset, || now.get()), Ok(()));
        }
        now.set(now.get() + budgets.interval);
    }
    assert_eq!(meter.inbound(&reset, || now.get()), Err(Budget::ResetsTotal));
}

/// S-36: bytes of a header block count over its frames; a new block begins anew.
#[test]
fn s_36_a_header_block_is_bounded_in_bytes() {
    let mut meter = begun(Http2Budgets::default());
    let part = vec![b'x'; 16_384];
    for stream in [1, 3] {
        meter.inbound(&frame(kind::HEADERS, 0, stream, &part), never).unwrap();
        for _ in 0..3 {
            meter.inbound(&frame(kind::CONTINUATION, 0, stream, &part), never).unwrap();
        }
    }
    let more = frame(kind::CONTINUATION, flag::END_HEADERS, 3, b"x");
    assert_eq!(meter.inbound(&more, never), Err(Budget::HeaderBlock));
    assert_eq!(meter.goaway_frame(11)[9..13], [0, 0, 0, 3]);
}

/// What ordinary clients send is free of the clock and of the budgets: requests, uploads, the end of a
/// stream without bytes, answers to our PINGs, acknowledged settings.
#[test]
fn ordinary_frames_do_not_count() {
    let mut meter = begun(Http2Budgets::default());
    for stream in (1..2001).step_by(2) {
        for (kind, flags, payload) in [
            (kind::HEADERS, flag::END_HEADERS, &b"x"[..]),
            (kind::DATA, 0, b"data"),
            (kind::DATA, flag::END_STREAM, b""),
            (kind::WINDOW_UPDATE, 0, &[0, 0, 0, 1]),
            (kind::SETTINGS, flag::ACK, b""),
        ] {
            assert_eq!(meter.inbound(&frame(kind, flags, stream, payload), never), Ok(()));
        }
        meter.outbound(&frame(kind::PING, 0, 0, &[0; 8])).unwrap();
        assert_eq!(meter.inbound(&frame(kind::PING, flag::ACK, 0, &[0; 8]), never), Ok(()));
    }
}

/// S-41: a large download may be acknowledged frame by frame, for stream and connection. S-40: bytes
/// that a client takes one by one do not pay for the updates that ask for them.
#[test]
fn s_41_window_updates_are_paid_by_what_is_sent() {
    let update = frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
    let data = frame(kind::DATA, 0, 1, &[0; 32]);
    let mut meter = begun(Http2Budgets::default());
    for _ in 0..10_000 {
        meter.outbound(&data).unwrap();
        meter.inbound(&update, never).unwrap();
        meter.inbound(&update, never).unwrap();
    }
    let mut meter = begun(Http2Budgets::default());
    let now = Instant::now();
    let taken = (0..1000).take_while(|_| {
        meter.outbound(&frame(kind::DATA, 0, 1, b"x")).is_ok()
            && meter.inbound(&update, || now).is_ok()
    });
    assert_eq!(taken.count(), 100);
}

/// S-35: resets for faults of the client count; those for early answers and failed pods do not.
#[test]
fn s_35_resets_that_the_client_made_us_send_count() {
    let reset = |code: u32| frame(kind::RST_STREAM, 0, 1, &code.to_be_bytes());
    let mut meter = begun(Http2Budgets::default());
    for _ in 0..1000 {
        meter.outbound(&reset(code::NO_ERROR)).unwrap();
        meter.outbound(&reset(code::INTERNAL_ERROR)).unwrap();
    }
    for _ in 0..500 {
        meter.outbound(&reset(1)).unwrap();
    }
    assert_eq!(meter.outbound(&reset(5)), Err(Budget::ResetsEmitted));
}

/// A GOAWAY of ours fits in between frames only, and not into a header block.
#[test]
fn boundaries_are_found_in_what_goes_out() {
    let bytes = [
        frame(kind::HEADERS, 0, 1, b"head"),
        frame(kind::CONTINUATION, flag::END_HEADERS, 1, b"er"),
        frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]),
        frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 11, b'x']),
        frame(kind::DATA, 0, 1, b"some"),
    ];
    let ends: Vec<usize> = bytes
        .iter()
        .scan(0, |end, frame| {
            *end += frame.len();
            Some(*end)
        })
        .collect();
    let boundaries = [0, ends[1], ends[2], ends[3], ends[4]];
    let bytes = bytes.concat();
    for cut in 0..=bytes.len() {
        let mut meter = begun(Http2Budgets::default());
        meter.outbound(&bytes[..cut]).unwrap();
        let next = boundaries.iter().find(|boundary| **boundary >= cut).unwrap();
        assert_eq!(meter.until_boundary(&bytes[cut..]), next - cut, "after {cut}");
        assert_eq!(meter.is_at_boundary(), *next == cut, "after {cut}");
        assert_eq!(meter.goaway(), (cut >= ends[3] - 1).then_some(11), "after {cut}");
    }
}

/// S-44: what does not begin as HTTP/2 is not read as frames.
#[test]
fn s_44_a_wrong_preface_is_seen_at_its_first_wrong_byte() {
    for split in [1, 7, 24] {
        let mut meter = Meter::new(Http2Budgets::default());
        for piece in b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n\0\0\0\x04".chunks(split) {
            assert_eq!(meter.inbound(piece, never), Ok(()));
        }
        assert!(meter.preface_is_wrong());
    }
}

/// One thing that happens on a connection.
#[derive(Clone, Debug)]
struct Event {
    inbound: bool,
    after: Duration,
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn event() -> impl Strategy<Value = Event> {
    let payload = prop_oneof![
        Just(Vec::new()),
        Just(vec![0, 0, 0, 1]),
        Just(vec![0, 0, 0, 2, 0, 0, 0, 11]),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    (any::<bool>(), 0..4_u64, 0..11_u8, prop_oneof![0..8_u8, any::<u8>()], 0..9_u32, payload)
        .prop_map(|(inbound, after, kind, flags, stream, payload)| Event {
            inbound,
            after: Duration::from_secs(after),
            kind,
            flags,
            stream,
            payload,
        })
}

/// The budgets as prose has them: whole frames, lists of times, sums over everything so far.
fn oracle(budgets: Http2Budgets, events: &[Event]) -> Option<(usize, Budget)> {
    let mut now = Duration::ZERO;
    let mut windows = [const { (None, 0) }; 256];
    let (mut credit, mut pings, mut resets, mut emitted) = (0_u32, 0_u32, 0, 0);
    let (mut frames, mut bytes, mut responded) = (0, 0, false);
    for (index, event) in events.iter().enumerate() {
        now += event.after;
        let (kind, len) = (event.kind, u32::try_from(event.payload.len()).unwrap());
        let mut over = None;
        let mut judge = |fine: bool, budget| {
            if !fine && over.is_none() {
                over = Some((index, budget));
            }
        };
        if event.inbound {
            let mut slot = kind.min(10);
            let mut counts = true;
            match kind {
                0 => counts = len == 0 && event.flags & 1 == 0,
                1 if len > 0 => {
                    (counts, frames, bytes) = (false, 0, len);
                    credit += 2;
                    judge(bytes <= budgets.header_block, Budget::HeaderBlock);
                },
                1 => slot = 0,
                3 => {
                    resets += 1;
                    judge(
                        responded || resets <= budgets.resets_unanswered,
                        Budget::ResetsUnanswered,
                    );
                    judge(resets <= budgets.resets_total, Budget::ResetsTotal);
                },
                4 => counts = event.flags & 1 == 0,
                6 if event.flags & 1 == 1 && pings > 0 => {
                    counts = false;
                    pings -= 1;
                },
                8 if credit > 0 => {
                    counts = false;
                    credit -= 1;
                },
                9 => {
                    (counts, frames, bytes) = (false, frames + 1, bytes + len);
                    judge(frames <= budgets.continuations, Budget::Continuations);
                    judge(bytes <= budgets.header_block, Budget::HeaderBlock);
                },
                2 | 5 | 7 | 10.. => slot = 2,
                _ => {},
            }
            if counts {
                let (since, count) = &mut windows[usize::from(slot)];
                if since.is_none_or(|since| now - since >= budgets.interval) {
                    (*since, *count) = (Some(now), 0);
                }
                *count += 1;
                let (max, budget) = match slot {
                    0 => (budgets.empty_frames, Budget::EmptyFrames),
                    3 => (budgets.resets, Budget::Resets),
                    4 => (budgets.settings, Budget::Settings),
                    6 => (budgets.pings, Budget::Pings),
                    8 => (budgets.window_updates, Budget::WindowUpdates),
                    _ => (budgets.ignored, Budget::Ignored),
                };
                judge(*count <= max, budget);
            }
        } else {
            match kind {
                0 => credit += (len / 8).min(4),
                1 => responded = true,
                3 => {
                    let code =
                        event.payload.first_chunk().map_or(0, |code| u32::from_be_bytes(*code));
                    emitted += u32::from(code != 0 && code != 2);
                    judge(emitted <= budgets.resets_emitted, Budget::ResetsEmitted);
                },
                6 => pings += u32::from(event.flags & 1 == 0),
                _ => {},
            }
        }
        if over.is_some() {
            return over;
        }
    }
    None
}

fn small() -> Http2Budgets {
    Http2Budgets {
        interval: Duration::from_secs(10),
        resets: 3,
        resets_unanswered: 2,
        resets_total: 5,
        resets_emitted: 3,
        continuations: 2,
        header_block: 60,
        settings: 2,
        pings: 2,
        empty_frames: 2,
        ignored: 5,
        window_updates: 2,
    }
}

/// The first event at which the meter objects, fed in pieces of the given sizes, over and over.
fn metered(budgets: Http2Budgets, events: &[Event], pieces: &[usize]) -> Option<(usize, Budget)> {
    let mut meter = Meter::new(budgets);
    let (start, mut now) = (Instant::now(), Duration::ZERO);
    let mut sizes = pieces.iter().cycle();
    let mut feed = |meter: &mut Meter, inbound: bool, mut bytes: &[u8], now: Duration| {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at((*sizes.next().unwrap()).min(bytes.len()));
            bytes = rest;
            if inbound {
                meter.inbound(piece, || start + now)?;
            } else {
                meter.outbound(piece)?;
            }
        }
        Ok(())
    };
    feed(&mut meter, true, PREFACE, now).unwrap();
    for (index, event) in events.iter().enumerate() {
        now += event.after;
        let bytes = frame(event.kind, event.flags, event.stream, &event.payload);
        if let Err(budget) = feed(&mut meter, event.inbound, &bytes, now) {
            return Some((index, budget));
        }
    }
    None
}

proptest! {
    #[test]
    fn the_meter_agrees_with_the_naive_one(
        events in proptest::collection::vec(event(), 0..120),
        pieces in proptest::collection::vec(1..30_usize, 1..8),
    ) {
        let expected = oracle(small(), &events);
        prop_assert_eq!(metered(small(), &events, &[usize::MAX]), expected);
        prop_assert_eq!(metered(small(), &events, &pieces), expected);
        prop_assert_eq!(metered(small(), &events, &[1]), expected);
    }

    #[test]
    fn any_bytes_in_any_pieces_have_one_verdict(
        bytes in proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..400),
        size in 1..20_usize,
    ) {
        let now = Instant::now();
        let (mut whole, mut split) = (begun(small()), begun(small()));
        let verdict = whole.inbound(&bytes, || now);
        let last = bytes.chunks(size).map(|piece| split.inbound(piece, || now)).last();
        prop_assert_eq!(last.unwrap_or(Ok(())), verdict);
        let verdict = whole.outbound(&bytes);
        let last = bytes.chunks(size).map(|piece| split.outbound(piece)).last();
        prop_assert_eq!(last.unwrap_or(verdict), verdict);
        prop_assert_eq!(split.goaway(), whole.goaway());
        prop_assert_eq!(split.until_boundary(&[0; 64]), whole.until_boundary(&[0; 64]));
    }
}
