//! Tests with real files and events; each waits for an update, never for time to pass.

use std::{fs, io::Write, path::PathBuf};

use tempfile::TempDir;

use super::*;

/// Only a failure takes this long.
const BOUND: Duration = Duration::from_secs(30);

fn route(host: &str) -> String {
    format!(
        "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata: {{name: r}}\n\
         spec: {{host: {host}, to: {{name: s}}}}\n"
    )
}

struct Bed {
    temp: TempDir,
    updates: watch::Receiver<Arc<Update>>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Bed {
    async fn start(settings: WatchSettings) -> Self {
        let temp = tempfile::tempdir().expect("a folder");
        let routes = temp.path().join("routes");
        fs::create_dir(&routes).expect("made");
        fs::write(routes.join("a.yaml"), route("first.test")).expect("written");
        let directory = Directory::new(vec![routes], "apps.test".into());
        let (sender, updates) = watch::channel(Arc::new(Update::default()));
        let cancel = CancellationToken::new();
        let task = tokio::spawn(watch_with(directory, sender, cancel.clone(), settings));
        let mut bed = Self { temp, updates, cancel, task };
        bed.wait_for("first.test").await;
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join("routes").join(name)
    }

    /// Waits until the one route has this host.
    async fn wait_for(&mut self, host: &str) -> Arc<Update> {
        self.wait(|update| update.objects.routes.iter().any(|r| r.object.spec.host == host)).await
    }

    async fn wait(&mut self, good: impl FnMut(&Arc<Update>) -> bool) -> Arc<Update> {
        let found = time::timeout(BOUND, self.updates.wait_for(good)).await;
        Arc::clone(&found.expect("in time").expect("still running"))
    }

    async fn stop(self) {
        self.cancel.cancel();
        time::timeout(BOUND, self.task).await.expect("in time").expect("no panic");
    }
}

/// With these, a test that needed a poll would fail by its bound.
fn events_only() -> WatchSettings {
    WatchSettings { poll: 10 * BOUND, ..WatchSettings::default() }
}

#[tokio::test]
async fn an_edit_in_place_and_a_rename_are_seen() {
    let mut bed = Bed::start(events_only()).await;
    fs::write(bed.path("a.yaml"), route("edited.test")).expect("written");
    bed.wait_for("edited.test").await;
    fs::write(bed.path(".a.new"), route("renamed.test")).expect("written");
    fs::rename(bed.path(".a.new"), bed.path("a.yaml")).expect("renamed");
    bed.wait_for("renamed.test").await;
    fs::remove_file(bed.path("a.yaml")).expect("removed");
    bed.wait(|update| update.objects.is_empty()).await;
    bed.stop().await;
}

#[tokio::test]
async fn a_file_is_not_read_while_its_writer_has_it_open_f_16() {
    let mut bed = Bed::start(events_only()).await;
    let mut writer = fs::File::create(bed.path("a.yaml")).expect("opened");
    writer.write_all(route("torn.test").as_bytes()).expect("written");
    writer.flush().expect("flushed");
    // Another file makes a look happen while the first one is open.
    let other = route("other.test").replace("name: r", "name: other");
    fs::write(bed.path("b.yaml"), other).expect("written");
    let update = bed.wait_for("other.test").await;
    assert!(update.objects.routes.iter().any(|r| r.object.spec.host == "first.test"));
    writer.set_len(0).expect("cut");
    std::io::Seek::rewind(&mut writer).expect("rewound");
    writer.write_all(route("whole.test").as_bytes()).expect("written");
    drop(writer);
    bed.wait_for("whole.test").await;
    bed.stop().await;
}

#[tokio::test]
async fn new_folders_are_followed() {
    let mut bed = Bed::start(events_only()).await;
    fs::create_dir_all(bed.path("deep/er")).expect("made");
    let other = route("deep.test").replace("name: r", "name: deep");
    fs::write(bed.path("deep/er/x.yaml"), &other).expect("written");
    bed.wait_for("deep.test").await;
    fs::write(bed.path("deep/er/x.yaml"), other.replace("deep.test", "again.test"))
        .expect("written");
    bed.wait_for("again.test").await;
    bed.stop().await;
}

#[tokio::test]
async fn a_folder_removed_and_put_back_is_watched_again_f_19() {
    let mut bed = Bed::start(events_only()).await;
    fs::remove_dir_all(bed.path("")).expect("removed");
    let update = bed.wait(|update| !update.findings.is_empty()).await;
    assert_eq!(update.objects.routes.len(), 1, "kept");
    fs::create_dir(bed.path("")).expect("made");
    fs::write(bed.path("a.yaml"), route("back.test")).expect("written");
    bed.wait_for("back.test").await;
    fs::write(bed.path("a.yaml"), route("edited.test")).expect("written");
    bed.wait_for("edited.test").await;
    bed.stop().await;
}

#[tokio::test]
async fn without_events_it_polls_f_18() {
    let settings = WatchSettings {
        poll_only: Duration::from_millis(20),
        without_events: true,
        ..WatchSettings::default()
    };
    let mut bed = Bed::start(settings).await;
    fs::write(bed.path("a.yaml"), route("polled.test")).expect("written");
    bed.wait_for("polled.test").await;
    bed.stop().await;
}

#[tokio::test]
async fn a_bad_edit_is_told_and_the_last_good_version_stays() {
    let mut bed = Bed::start(events_only()).await;
    fs::write(bed.path("a.yaml"), route("BAD")).expect("written");
    let bad = |update: &Arc<Update>| update.findings.iter().any(|f| f.code.number == 1020);
    let update = bed.wait(bad).await;
    assert_eq!(update.objects.routes[0].object.spec.host, "first.test");
    bed.stop().await;
}
