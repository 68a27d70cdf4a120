//! The task that writes the files of the access log.
//!
//! Always holds: a file appears whole, under a name that none had before; what is kept in memory is
//! bounded; a directory that cannot be written loses lines, which are counted, and nothing else.

use std::{
    hash::BuildHasher as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use flate2::{Compression, write::GzEncoder};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Place, Record, line::Time};
use crate::nlb::{account::NUMBER as ACCOUNT, stats::Count};

/// Size of a file from which on it is written before its time.
const MAX_FILE: usize = 4 << 20;
/// Lines taken at a time.
const BATCH: usize = 256;

/// A file in the making.
struct File {
    bytes: GzEncoder<Vec<u8>>,
    lines: u64,
}

impl File {
    fn new() -> Self {
        Self { bytes: GzEncoder::new(Vec::new(), Compression::default()), lines: 0 }
    }
}

/// Writes what comes through `queue` until its other end is dropped, or `stop`.
pub(super) async fn run(
    place: Place,
    mut queue: mpsc::Receiver<Record>,
    stop: CancellationToken,
    dropped: Arc<Count>,
) {
    let mut file = File::new();
    let mut records = Vec::with_capacity(BATCH);
    let mut due = Instant::now() + place.config.interval;
    loop {
        let taken = tokio::select! {
            biased;
            () = stop.cancelled(), if !queue.is_closed() => {
                queue.close();
                continue;
            },
            () = tokio::time::sleep_until(due) => {
                due = Instant::now() + place.config.interval;
                file = flush(&place, file, &dropped).await;
                continue;
            },
            taken = queue.recv_many(&mut records, BATCH) => taken,
        };
        if taken == 0 {
            break;
        }
        for record in records.drain(..) {
            // Writing to memory does not fail.
            if writeln!(file.bytes, "{record}").is_ok() {
                file.lines += 1;
            }
        }
        if file.bytes.get_ref().len() > MAX_FILE {
            file = flush(&place, file, &dropped).await;
        }
    }
    flush(&place, file, &dropped).await;
}

/// Writes the file, if it has lines; the next one.
async fn flush(place: &Place, file: File, dropped: &Count) -> File {
    if file.lines == 0 {
        return file;
    }
    let path = path(place, SystemTime::now(), random());
    let File { bytes, lines } = file;
    let written = tokio::task::spawn_blocking(move || save(&path, &bytes.finish()?)).await;
    match written {
        Ok(Ok(())) => {},
        Ok(Err(error)) => {
            dropped.add(lines);
            let bucket = place.config.bucket.display();
            tracing::error!(%bucket, %error, lines, "the access log could not be written");
        },
        Err(_runtime_ends) => dropped.add(lines),
    }
    File::new()
}

fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let aside = path.with_extension("part");
    std::fs::write(&aside, bytes)?;
    std::fs::rename(&aside, path)
}

fn random() -> u32 {
    // The keys of a new state are random.
    let number = std::hash::RandomState::new().hash_one(0);
    (number & 0xffff_ffff) as u32
}

/// The key that AWS gives a file whose time ends at `end`.
pub(super) fn path(place: &Place, end: SystemTime, random: u32) -> PathBuf {
    let [year, month, day, hour, minute, _] = Time(end).parts();
    let Place { config, region, label } = place;
    let label = label.replace('/', ".");
    let mut path = config.bucket.clone();
    path.extend([&*config.prefix].into_iter().filter(|prefix| !prefix.is_empty()));
    path.extend(["AWSLogs", ACCOUNT, "elasticloadbalancing", region]);
    path.push(format!("{year:04}/{month:02}/{day:02}"));
    path.push(format!(
        "{ACCOUNT}_elasticloadbalancing_{region}_{label}_\
         {year:04}{month:02}{day:02}T{hour:02}{minute:02}Z_{random:08x}.log.gz"
    ));
    path
}
