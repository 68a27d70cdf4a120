//! Replays the corpora of `fuzz/`: every file that a fuzz target keeps, through the very check that
//! the target makes (`fuzz/fuzz_targets/NAME.rs` includes `corpus/NAME.rs`).
//!
//! A file that crashed a target goes to `fuzz/corpus/NAME/`, and with it becomes a test.

mod client_hello;
mod cookie;
mod dns_packet;
mod document;
mod gate;
mod hop_by_hop;
mod host;
mod proxy_header;

use std::{collections::BTreeSet, fs, path::PathBuf};

/// Judges one input: panics if a property does not hold.
type Check = fn(&[u8]);

/// Each target with its check.
const TARGETS: [(&str, Check); 8] = [
    ("client_hello", client_hello::check),
    ("cookie", cookie::check),
    ("dns_packet", dns_packet::check),
    ("document", document::check),
    ("gate", gate::check),
    ("hop_by_hop", hop_by_hop::check),
    ("host", host::check),
    ("proxy_header", proxy_header::check),
];

fn names(below: &str) -> BTreeSet<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(below);
    fs::read_dir(&folder)
        .expect("a folder of fuzz")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("ASCII"))
        .collect()
}

/// The longest start of a file is the file; every shorter one is what a peer sends that stops there.
#[test]
fn every_file_of_a_corpus_and_its_starts_pass_the_check() {
    for (target, check) in TARGETS {
        let files = names(&format!("corpus/{target}"));
        assert!(files.len() > 3, "{target}: {files:?}");
        for file in files {
            let path = format!("{}/fuzz/corpus/{target}/{file}", env!("CARGO_MANIFEST_DIR"));
            let data = fs::read(&path).expect("readable");
            check(&data);
            let step = data.len() / 64 + 1;
            (0..data.len()).step_by(step).for_each(|until| check(&data[..until]));
        }
    }
}

#[test]
fn every_target_has_a_corpus_a_check_and_a_binary() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("corpus"), targets);
    let files: BTreeSet<String> = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names("fuzz_targets"), files);
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/Cargo.toml"));
    let manifest = manifest.expect("readable");
    for name in targets {
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\""))
        );
    }
}
