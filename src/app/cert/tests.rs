//! Which files `wharf cert` makes, keeps and refuses.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn wanted() -> Vec<Wanted> {
    vec![Wanted {
        namespace: "shop".to_owned(),
        secret: "web-tls".to_owned(),
        hosts: vec!["shop.apps.example.org".to_owned(), "www.example.org".to_owned()],
    }]
}

fn names(made: &[Made], new: bool) -> Vec<String> {
    made.iter()
        .filter(|made| made.new == new)
        .map(|made| made.path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect()
}

const ALL: [&str; 4] = ["ca.pem", "ca.key", "default.pem", "secret-shop.web-tls.yaml"];

#[test]
fn a_second_run_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(names(&run(dir.path(), &wanted(), false).unwrap(), true), ALL);
    let before = ALL.map(|name| fs::read(dir.path().join(name)).unwrap());
    assert_eq!(names(&run(dir.path(), &wanted(), false).unwrap(), false), ALL);
    let after = ALL.map(|name| fs::read(dir.path().join(name)).unwrap());
    assert!(before == after);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "nothing is left over");
    assert_eq!(names(&run(dir.path(), &wanted(), true).unwrap(), true), ALL);
}

#[test]
fn keys_are_for_their_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &wanted(), false).unwrap();
    for name in ALL {
        let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if name == "ca.pem" { 0o644 } else { 0o600 }, "{name}");
    }
}

#[test]
fn a_new_host_renews_its_leaf_and_the_default() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &wanted(), false).unwrap();
    let mut more = wanted();
    more[0].hosts.push("shop.other.example.net".to_owned());
    let made = run(dir.path(), &more, false).unwrap();
    assert_eq!(names(&made, true), ["default.pem", "secret-shop.web-tls.yaml"]);
}

#[test]
fn a_broken_file_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &wanted(), false).unwrap();
    fs::write(dir.path().join("default.pem"), "rubbish").unwrap();
    assert_eq!(names(&run(dir.path(), &wanted(), false).unwrap(), true), ["default.pem"]);
    fs::remove_file(dir.path().join("ca.key")).unwrap();
    assert_eq!(
        names(&run(dir.path(), &wanted(), false).unwrap(), true),
        ALL,
        "leaves of a lost authority are of no use"
    );
}

#[test]
fn a_secret_is_a_manifest() {
    use k8s_openapi::api::core::v1::Secret;
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &wanted(), false).unwrap();
    let text = fs::read_to_string(dir.path().join(ALL[3])).unwrap();
    let secret: Secret = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
    assert_eq!(secret.metadata.name.as_deref(), Some("web-tls"));
    assert_eq!(secret.metadata.namespace.as_deref(), Some("shop"));
    let data = secret.string_data.unwrap();
    assert!(data["tls.key"].starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert!(is_good(&data["tls.crt"], &wanted()[0].hosts));
}

#[test]
fn the_default_covers_the_domains_of_the_hosts() {
    let names = default_names(&wanted());
    assert!(names.contains(&"*.apps.example.org".to_owned()));
    assert!(names.contains(&"*.localhost".to_owned()));
    assert!(names.iter().all(|name| name != "*.org"));
    let text = mint::self_signed(&names).unwrap().cert_pem;
    assert!(is_good(&text, &names), "addresses are compared too");
}

#[test]
fn what_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = run(&dir.path().join("file"), &[], false).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn a_name_cannot_leave_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    for bad in ["../x", "a/b", "", "a b"] {
        let mut want = wanted();
        want[0].secret = bad.to_owned();
        let refused = run(dir.path(), &want, false);
        assert!(matches!(refused, Err(CertError::Name { .. })), "{bad:?}");
    }
}
