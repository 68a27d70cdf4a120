//! A look at the named paths against a look at everything.

use proptest::{collection::vec, prelude::*};

use super::*;

/// What is done to the folder between two looks.
#[derive(Clone, Debug)]
enum Edit {
    Write(usize, u8),
    Rename(usize, u8),
    Remove(usize),
    Broken(usize),
    Link(usize, usize),
    Folder(usize),
}

const NAMES: [&str; 8] =
    ["a.yaml", "b.yaml", "c/a.yaml", "c/b.json", "c/d/x.yml", ".h.yaml", "b.txt", "d"];

fn edit() -> impl Strategy<Value = Edit> {
    let name = 0..NAMES.len();
    prop_oneof![
        6 => (name.clone(), 0..4u8).prop_map(|(name, text)| Edit::Write(name, text)),
        3 => (name.clone(), 0..4u8).prop_map(|(name, text)| Edit::Rename(name, text)),
        2 => name.clone().prop_map(Edit::Remove),
        1 => name.clone().prop_map(Edit::Broken),
        1 => (name.clone(), name.clone()).prop_map(|(at, to)| Edit::Link(at, to)),
        1 => name.prop_map(Edit::Folder),
    ]
}

impl Folder {
    fn real(&self, name: &str) -> PathBuf {
        self.temp.path().canonicalize().expect("there").join("routes").join(name)
    }

    /// Does it, as far as it can be done, and tells what events would. False when they would say
    /// that everything must be looked at.
    fn edit(&self, edit: &Edit, hints: &mut Hints) -> bool {
        let text = |text: u8| route(&format!("r{}", text / 2), &format!("h{text}.test"));
        let (at, done) = match edit {
            Edit::Write(at, version) => (*at, fs::write(self.path(NAMES[*at]), text(*version))),
            Edit::Broken(at) => (*at, fs::write(self.path(NAMES[*at]), "kind: [\n")),
            Edit::Rename(at, version) => {
                let beside = self.path(".new");
                fs::write(&beside, text(*version)).expect("written");
                hints.gone.insert(self.real(".new"));
                (*at, fs::rename(beside, self.path(NAMES[*at])))
            },
            Edit::Remove(at) => {
                if fs::remove_file(self.path(NAMES[*at])).is_ok() {
                    hints.settled.remove(&self.real(NAMES[*at]));
                    hints.gone.insert(self.real(NAMES[*at]));
                }
                return true;
            },
            Edit::Link(at, to) => {
                if symlink(self.path(NAMES[*to]), self.path(NAMES[*at])).is_ok() {
                    hints.writing.insert(self.real(NAMES[*at]));
                }
                return true;
            },
            Edit::Folder(at) => return fs::create_dir(self.path(NAMES[*at])).is_err(),
        };
        if done.is_ok() {
            hints.settled.insert(self.path_behind(NAMES[at]));
            hints.writing.remove(&self.real(NAMES[at]));
        }
        true
    }

    /// The kernel names the file that was closed, not the link that led there.
    fn path_behind(&self, name: &str) -> PathBuf {
        self.path(name).canonicalize().unwrap_or_else(|_| self.real(name))
    }

    fn state(&self) -> (Vec<String>, Vec<Finding>) {
        let objects = self.directory.objects();
        assert!(objects.routes.windows(2).all(|two| two[0].order < two[1].order));
        (self.hosts(), self.directory.findings())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Decisions 4 makes what is in force depend on the past, so both see every step.
    #[test]
    fn what_is_named_is_all_that_must_be_looked_at(steps in vec(vec(edit(), 1..4), 1..12)) {
        let mut folder = Folder::new();
        fs::create_dir_all(folder.path("c/d")).expect("made");
        folder.write("a.yaml", &route("a", "a.test"));
        folder.scan();
        let roots = vec![folder.path("")];
        let mut everything = Directory::new(roots, "apps.test".into());
        everything.scan(folder.now);
        for step in steps {
            let mut hints = Hints { complete: true, ..Hints::default() };
            for edit in &step {
                hints.complete &= folder.edit(edit, &mut hints);
            }
            // Links are taken as they are found, whatever events say.
            folder.directory.scan_settled(folder.now, &hints);
            let near = folder.state();
            everything.scan(folder.now);
            let objects = everything.objects();
            let hosts: Vec<String> = objects
                .routes
                .iter()
                .map(|r| format!("{}={}", r.key.name, r.object.spec.host))
                .collect();
            prop_assert_eq!(&near.0, &hosts, "after {:?}", step);
            let codes = |findings: &[Finding]| -> Vec<Code> {
                findings.iter().map(|finding| finding.code).collect()
            };
            prop_assert_eq!(codes(&near.1), codes(&everything.findings()), "after {:?}", step);
        }
    }
}

/// Files that nobody named are not looked at: only so does a change cost the same among many files.
#[test]
fn a_new_file_is_read_alone_and_changes_no_other_object() {
    let mut folder = Folder::new();
    for name in ["a", "c", "d"] {
        folder.write(&format!("{name}.yaml"), &route(name, "x.test"));
    }
    folder.scan();
    let before = folder.directory.objects();
    folder.write("b.yaml", &route("b", "b.test"));
    folder.write("d.yaml", &route("d", "unseen.test"));
    let hints =
        Hints { settled: [folder.real("b.yaml")].into(), complete: true, ..Hints::default() };
    let seen = folder.directory.scan_settled(folder.now, &hints);
    assert_eq!(seen, Seen { changed: true, unsettled: false, whole: false });
    assert_eq!(folder.hosts(), ["a=x.test", "b=b.test", "c=x.test", "d=x.test"]);
    let after = folder.directory.objects();
    for (old, new) in before.routes.iter().zip([0, 2, 3]) {
        assert!(Arc::ptr_eq(old, &after.routes[new]), "{old:?}");
    }
}

#[test]
fn hints_that_do_not_suffice_lead_to_a_look_at_everything() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &route("a", "a.test"));
    folder.write("c/b.yaml", &route("b", "b.test"));
    folder.scan();
    let whole = |folder: &mut Folder, gone: &str, complete| {
        let hints = Hints { gone: [folder.real(gone)].into(), complete, ..Hints::default() };
        folder.directory.scan_settled(folder.now, &hints).whole
    };
    assert!(!whole(&mut folder, "never.yaml", true));
    assert!(whole(&mut folder, "never.yaml", false));
    assert!(whole(&mut folder, "/elsewhere.yaml", true));
    fs::remove_dir_all(folder.path("c")).expect("removed");
    assert!(whole(&mut folder, "c", true), "its files are gone with it");
    assert_eq!(folder.hosts(), ["a=a.test"]);
    symlink("a.yaml", folder.path("link.yaml")).expect("linked");
    folder.scan();
    assert!(whole(&mut folder, "never.yaml", true), "a file may be shown in two places");
}
