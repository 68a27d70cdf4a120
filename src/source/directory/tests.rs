//! Tests on real folders. Time is an argument, so nothing waits.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::*;
use crate::model::finding::Code;

fn route(name: &str, host: &str) -> String {
    format!(
        "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata: {{name: {name}}}\n\
         spec: {{host: {host}, to: {{name: s}}}}\n---\n"
    )
}

struct Folder {
    temp: TempDir,
    directory: Directory,
    now: Instant,
}

impl Folder {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a folder");
        fs::create_dir(temp.path().join("routes")).expect("made");
        let directory = Directory::new(vec![temp.path().join("routes")], "apps.test".into());
        Self { temp, directory, now: Instant::now() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join("routes").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().expect("a parent")).expect("made");
        fs::write(self.path(name), text).expect("written");
    }

    fn scan(&mut self) -> bool {
        self.directory.scan(self.now)
    }

    fn look(&mut self, settled: &[&str], writing: &[&str]) -> Seen {
        let real = |names: &[&str]| {
            names
                .iter()
                .map(|n| self.temp.path().canonicalize().expect("there").join("routes").join(n))
                .collect()
        };
        let hints = Hints {
            settled: real(settled),
            writing: real(writing),
            quiet: Duration::from_secs(1),
            quiet_writing: Duration::from_secs(10),
        };
        self.directory.scan_settled(self.now, &hints)
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// `name=host` of every route.
    fn hosts(&self) -> Vec<String> {
        let objects = self.directory.objects();
        objects.routes.iter().map(|r| format!("{}={}", r.key.name, r.object.spec.host)).collect()
    }

    fn codes(&self) -> Vec<Code> {
        self.directory.findings().iter().map(|finding| finding.code).collect()
    }
}

#[test]
fn files_are_read_in_order_and_hidden_ones_are_not() {
    let mut folder = Folder::new();
    folder.write("b.yaml", &route("b", "b.test"));
    folder.write("a/z.yml", &route("az", "az.test"));
    folder.write(
        "c.json",
        "{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"n\"}}",
    );
    for ignored in [".hidden.yaml", ".git/x.yaml", "x.yaml.swp", "4913", "b.yaml~"] {
        folder.write(ignored, &route("no", "no.test"));
    }
    assert!(folder.scan());
    assert_eq!(folder.hosts(), ["az=az.test", "b=b.test"]);
    let objects = folder.directory.objects();
    assert_eq!(objects.namespaces.len(), 1);
    assert!(objects.routes[0].order < objects.routes[1].order);
    assert!(objects.routes[1].place.path.ends_with("routes/b.yaml"));
    assert!(!folder.scan(), "nothing changed");
}

#[test]
fn one_bad_among_a_thousand_files_r_08() {
    let mut folder = Folder::new();
    for number in 0..1000 {
        let host = if number == 500 { "BAD" } else { "a.test" };
        folder.write(&format!("{number:04}.yaml"), &route(&format!("r{number}"), host));
    }
    folder.scan();
    assert_eq!(folder.hosts().len(), 999);
    assert_eq!(folder.codes(), [codes::BAD_HOST]);
    let place = folder.directory.findings()[0].place.to_string();
    assert!(place.ends_with("0500.yaml:4:8"), "{place}");
}

#[test]
fn an_edit_reads_one_file_and_keeps_the_other_objects_in_memory() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &(route("a", "a.test") + &route("b", "b.test")));
    folder.write("c.yaml", &route("c", "c.test"));
    folder.scan();
    let before = folder.directory.objects();
    folder.write("a.yaml", &(route("a", "a.test") + &route("b", "new.test")));
    assert!(folder.scan());
    let after = folder.directory.objects();
    let same = |index: usize| Arc::ptr_eq(&before.routes[index], &after.routes[index]);
    assert_eq!([same(0), same(1), same(2)], [true, false, true]);
    assert_eq!(folder.hosts(), ["a=a.test", "b=new.test", "c=c.test"]);
}

#[test]
fn the_last_valid_version_stays_per_object_r_09() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &(route("a", "a.test") + &route("b", "b.test") + &route("c", "c.test")));
    folder.scan();
    folder.write("a.yaml", &(route("a", "BAD") + &route("b", "b2.test")));
    folder.scan();
    assert_eq!(folder.hosts(), ["a=a.test", "b=b2.test"], "c was taken out");
    assert_eq!(folder.codes(), [codes::BAD_HOST, codes::LAST_GOOD]);
    folder.write("a.yaml", "nonsense: [\n");
    folder.scan();
    assert_eq!(folder.hosts(), ["a=a.test", "b=b2.test"], "nobody knows which one is meant");
    folder.write("a.yaml", &(route("a", "a3.test") + "kind: [\n"));
    folder.scan();
    assert_eq!(folder.hosts(), ["a=a3.test", "b=b2.test"]);
    folder.write("a.yaml", &route("a", "a4.test"));
    folder.scan();
    assert_eq!(folder.hosts(), ["a=a4.test"]);
    assert_eq!(folder.codes(), []);
    fs::remove_file(folder.path("a.yaml")).expect("removed");
    assert!(folder.scan());
    assert!(folder.hosts().is_empty());
}

#[test]
fn the_first_of_two_equal_objects_wins() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &route("a", "first.test"));
    folder.write("b.yaml", &route("a", "second.test"));
    folder.scan();
    assert_eq!(folder.hosts(), ["a=first.test"]);
    assert_eq!(folder.codes(), [codes::DUPLICATE_OBJECT]);
    assert!(folder.directory.findings()[0].place.path.ends_with("b.yaml"));
    fs::remove_file(folder.path("a.yaml")).expect("removed");
    folder.scan();
    assert_eq!(folder.hosts(), ["a=second.test"]);
    assert_eq!(folder.codes(), []);
}

#[test]
fn a_file_counts_once_closed_and_never_while_it_is_written_f_16() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &route("a", "a.test"));
    folder.scan();
    folder.write("a.yaml", &route("a", "torn.test"));
    assert_eq!(folder.look(&[], &["a.yaml"]), Seen { changed: false, unsettled: true });
    folder.later(5);
    assert_eq!(folder.look(&[], &["a.yaml"]), Seen { changed: false, unsettled: true });
    assert_eq!(folder.hosts(), ["a=a.test"]);
    folder.write("a.yaml", &route("a", "whole.test"));
    assert_eq!(folder.look(&["a.yaml"], &[]), Seen { changed: true, unsettled: false });
    assert_eq!(folder.hosts(), ["a=whole.test"]);
}

#[test]
fn a_file_without_events_counts_when_it_was_equal_twice() {
    let mut folder = Folder::new();
    folder.scan();
    folder.write("a.yaml", &route("a", "one.test"));
    assert!(!folder.look(&[], &[]).changed);
    folder.later(2);
    folder.write("a.yaml", &route("a", "a-longer-one.test"));
    assert!(!folder.look(&[], &[]).changed, "it changed again");
    folder.later(2);
    assert!(folder.look(&[], &[]).changed);
    assert_eq!(folder.hosts(), ["a=a-longer-one.test"]);
}

#[test]
fn a_file_renamed_over_another_counts_at_once() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &route("a", "a.test"));
    folder.scan();
    folder.write(".a.yaml.new", &route("a", "new.test"));
    fs::rename(folder.path(".a.yaml.new"), folder.path("a.yaml")).expect("renamed");
    assert!(folder.look(&["a.yaml"], &[]).changed);
    assert_eq!(folder.hosts(), ["a=new.test"]);
}

#[test]
fn a_kubernetes_volume_switches_as_one_f_17() {
    let mut folder = Folder::new();
    for (version, host) in [("..2026_1", "one.test"), ("..2026_2", "two.test")] {
        folder.write(&format!("{version}/a.yaml"), &route("a", host));
        folder.write(&format!("{version}/b.yaml"), &route("b", host));
    }
    symlink("..2026_1", folder.path("..data")).expect("linked");
    for name in ["a.yaml", "b.yaml"] {
        symlink(format!("..data/{name}"), folder.path(name)).expect("linked");
    }
    folder.scan();
    assert_eq!(folder.hosts(), ["a=one.test", "b=one.test"]);
    assert_eq!(folder.codes(), []);
    symlink("..2026_2", folder.path("..data_tmp")).expect("linked");
    fs::rename(folder.path("..data_tmp"), folder.path("..data")).expect("swapped");
    assert_eq!(folder.look(&["..data"], &[]), Seen { changed: true, unsettled: false });
    assert_eq!(folder.hosts(), ["a=two.test", "b=two.test"]);
}

#[test]
fn a_folder_that_vanishes_keeps_everything_until_it_is_back_f_19() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &route("a", "a.test"));
    folder.write("b.yaml", &route("b", "b.test"));
    folder.scan();
    let (routes, aside) = (folder.path(""), folder.temp.path().join("aside"));
    fs::rename(&routes, &aside).expect("moved");
    assert!(folder.look(&[], &[]).changed);
    assert_eq!(folder.hosts().len(), 2);
    assert_eq!(folder.codes(), [codes::ROOT_MISSING]);
    fs::create_dir(&routes).expect("made");
    let seen = folder.look(&[], &[]);
    assert!(seen.unsettled, "its files may still come");
    assert_eq!((folder.hosts().len(), folder.codes().len()), (2, 0));
    folder.write("a.yaml", &route("a", "back.test"));
    folder.later(2);
    folder.look(&["a.yaml"], &[]);
    assert_eq!(folder.hosts(), ["a=back.test"]);
}

#[test]
fn what_is_not_a_regular_file_of_the_folder_is_skipped_s_90() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &route("a", "a.test"));
    let outside = folder.temp.path().join("outside.yaml");
    fs::write(&outside, route("out", "out.test")).expect("written");
    symlink(&outside, folder.path("link.yaml")).expect("linked");
    symlink("nowhere", folder.path("dangling.yaml")).expect("linked");
    symlink("..", folder.path("loop")).expect("linked");
    symlink("/dev/zero", folder.path("zero.yaml")).expect("linked");
    let listener = std::os::unix::net::UnixListener::bind(folder.path("socket.yaml"));
    fs::write(folder.path("big.yaml"), vec![b'#'; (4 << 20) + 1]).expect("written");
    folder.write("latin.yaml", "");
    fs::write(folder.path("latin.yaml"), b"a: \xff\n").expect("written");
    folder.scan();
    drop(listener);
    assert_eq!(folder.hosts(), ["a=a.test"]);
    let mut found = folder.codes();
    found.sort();
    let outside = codes::OUTSIDE_ROOT;
    let mut want = vec![
        codes::UNREADABLE,
        codes::TOO_LARGE,
        codes::NOT_REGULAR,
        outside,
        outside,
        outside,
        outside,
    ];
    want.sort();
    assert_eq!(found, want);
}

#[test]
fn a_pipe_in_place_of_a_file_never_blocks() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &route("a", "a.test"));
    folder.scan();
    let pipe = folder.path("p.yaml");
    let made =
        std::process::Command::new("/usr/bin/mkfifo").arg(&pipe).status().expect("coreutils");
    assert!(made.success());
    assert!(matches!(files::read(&pipe), Err(ReadError::NotRegular)));
    fs::rename(&pipe, folder.path("a.yaml")).expect("renamed");
    folder.scan();
    assert_eq!(folder.codes(), [codes::NOT_REGULAR]);
}

#[test]
fn an_unreadable_version_keeps_what_was_read() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &route("a", "a.test"));
    folder.scan();
    fs::write(folder.path("a.yaml"), vec![b'#'; (4 << 20) + 1]).expect("written");
    assert!(folder.scan());
    assert_eq!(folder.hosts(), ["a=a.test"]);
    assert!(!folder.scan(), "it is not tried again until it changes");
    folder.write("a.yaml", &route("a", "b.test"));
    folder.scan();
    assert_eq!((folder.hosts(), folder.codes()), (vec!["a=b.test".to_owned()], vec![]));
}

#[test]
fn a_single_file_can_be_a_root() {
    let temp = tempfile::tempdir().expect("a folder");
    let path = temp.path().join("one.txt");
    fs::write(&path, route("a", "a.test")).expect("written");
    let mut directory = Directory::new(vec![path, temp.path().join("no")], "x".into());
    assert!(directory.scan(Instant::now()));
    assert_eq!(directory.objects().routes.len(), 1);
    let findings = directory.findings();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].code, codes::ROOT_MISSING);
}

/// Without texts a change is still told from none, and only what changed is a new object.
#[test]
fn forgotten_texts_still_tell_changes_apart() {
    let mut folder = Folder::new();
    let root = folder.temp.path().join("routes");
    folder.directory = Directory::new(vec![root], "apps.test".into()).forgetting_texts();
    folder.write("r.yaml", &(route("a", "a.test") + &route("b", "b.test")));
    assert!(folder.scan());
    let before = folder.directory.objects();
    assert!(before.routes.iter().all(|route| route.text.as_str().is_empty()));
    folder.write("r.yaml", &(route("a", "a.test") + &route("b", "c.test")));
    assert!(folder.scan());
    assert_eq!(folder.hosts(), ["a=a.test", "b=c.test"]);
    let after = folder.directory.objects();
    assert!(Arc::ptr_eq(&before.routes[0], &after.routes[0]));
    folder.write("r.yaml", &(route("a", "a.test") + &route("b", "c.test") + "# said again\n"));
    assert!(!folder.scan());
}
