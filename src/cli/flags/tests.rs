//! Flags as they are typed, and the settings they come to.

use clap::Parser as _;

use super::*;
use crate::{
    cli::{Cli, Command as Verb},
    settings::{RouterSettings, admission::ProjectLabels, env::Origin},
};

/// What these flags come to on top of `config`, if they are understood.
fn on_top(mut config: Config, flags: &[&str]) -> Option<Config> {
    let words = ["wharf", "router"].iter().chain(flags);
    let Verb::Router(args) = Cli::try_parse_from(words).ok()?.command else { return None };
    args.flags.apply(&mut config).ok()?;
    Some(config)
}

fn settings(flags: &[&str]) -> Option<RouterSettings> {
    on_top(Config::default(), flags).map(|config| config.settings)
}

/// What somebody set in the environment.
fn environment() -> Config {
    let mut config = Config::default();
    config.settings.admission.denied_domains = vec!["env.test".to_owned()];
    config.settings.admission.namespace_labels = "env".parse().ok();
    config
}

#[test]
fn env_flag_every_flag_goes_to_its_own_setting() {
    let given = on_top(
        environment(),
        &[
            "--router-canonical-hostname=router.test",
            "--hostname-template=${name}.test",
            "--override-hostname",
            "--override-domains=a.test, b.test",
            "--denied-domains=c.test",
            "--allowed-domains=d.test,,e.test",
            "--allowed-domains=f.test",
            "--labels=a=b",
            "--fields=spec.host=x",
            "--namespace=app",
            "--namespace-labels=c",
            "--project-labels=*",
        ],
    )
    .expect("the flags are understood")
    .settings;
    assert_eq!(given.canonical_hostname, "router.test");
    let admission = given.admission;
    assert_eq!(admission.hostname_template, "${name}.test");
    assert!(admission.override_hostname);
    assert_eq!(admission.override_domains, ["a.test", "b.test"]);
    assert_eq!(admission.denied_domains, ["c.test"], "the flag wins");
    assert_eq!(admission.allowed_domains, ["d.test", "e.test", "f.test"]);
    assert_eq!(admission.route_labels, "a=b".parse().unwrap());
    assert_eq!(admission.route_fields, "spec.host=x".parse().unwrap());
    assert_eq!(admission.namespace.as_deref(), Some("app"));
    assert_eq!(admission.namespace_labels, Some("c".parse().unwrap()));
    assert_eq!(admission.project_labels, Some(ProjectLabels::All));
}

/// [SHARD-1]
#[test]
fn shard_1_what_is_not_given_stays_and_what_is_wrong_is_refused() {
    let none = on_top(environment(), &[]).expect("no flag is needed").settings.admission;
    assert_eq!(none.denied_domains, ["env.test"]);
    assert_eq!(none.namespace_labels, Some("env".parse().unwrap()));
    assert_eq!(none.namespace, None);
    assert!(none.route_labels.is_empty() && none.project_labels.is_none());
    let one = on_top(environment(), &["--namespace=app"]).expect("it is understood").settings;
    assert!(one.check().is_err(), "of the environment and the command line together");
    for bad in [
        "--labels=a in b",
        "--fields=status=x",
        "--namespace-labels=*",
        "--project-labels=**",
        "--router-canonical-hostname=10.0.0.1",
        "--strict-sni=maybe",
        "--interval=5",
        "--interval=999ms",
        "--commit-interval=0s",
        "--listen-addr=1936",
        "--metrics-type=prometheus",
        "--kubeconfig=/k",
        "--master=https://api",
        "--http=nowhere",
        "--strict-sin",
    ] {
        assert!(settings(&[bad]).is_none(), "{bad}");
    }
}

/// As Go's flags: booleans with and without a value, the last of several counts, lists add up.
#[test]
fn env_flag_values_are_written_as_openshift_writes_them() {
    assert!(settings(&["--strict-sni"]).unwrap().strict_sni);
    assert!(!settings(&["--strict-sni", "--strict-sni=F"]).unwrap().strict_sni);
    assert!(!settings(&["--update-status=false"]).unwrap().update_status);
    assert!(!settings(&["--no-access-log"]).unwrap().access_log);
    let bound = settings(&["--bind-ports-after-sync=1"]).unwrap();
    assert!(bound.bind_after_sync, "the flag is a boolean, the variable a word");
    assert_eq!(settings(&["--name", "a", "--router-name", "b"]).unwrap().router_name, "b");
    let several = settings(&["--manifests", "a:b", "--manifests", "c"]).unwrap();
    assert_eq!(several.manifests, [std::path::PathBuf::from("a:b"), "c".into()]);
    let ports = settings(&["--http", "127.0.0.1:1", "--http", "[::1]:2,:3"]).unwrap();
    assert_eq!(ports.http.len(), 3);
    let stats = settings(&["--listen-addr", "127.0.0.1:1", "--stats-port", "2"]).unwrap();
    assert_eq!(stats.admin.port(), 1, "--listen-addr wins over --stats-port");
    let quiet =
        ["--v=2", "--template=/t", "--reload", "/r", "--working-dir=/w", "--enable-ingress"];
    let quiet = settings(&quiet).expect("what means nothing is accepted");
    assert_eq!(format!("{quiet:?}"), format!("{:?}", RouterSettings::default()));
}

/// Only what was typed is a flag's: clap's own defaults are not.
#[test]
fn only_what_was_typed_comes_from_a_flag() {
    let config = on_top(environment(), &["--workers=7"]).unwrap();
    let flags: Vec<_> =
        config.list().filter(|setting| matches!(setting.origin, Origin::Flag(_))).collect();
    assert_eq!(flags.len(), 1);
    assert_eq!((flags[0].flag, flags[0].value.as_deref()), ("--workers", Some("7")));
}

/// A router without a name cannot write status (spec/route.md 8.2).
#[test]
fn status_needs_a_name() {
    assert!(settings(&["--name="]).unwrap().check().is_err());
    assert!(settings(&["--name=", "--update-status=false"]).unwrap().check().is_ok());
}

/// The help names what sets something, with its default and its variable, and nothing else.
#[test]
fn the_help_says_what_there_is() {
    let mut command = <Cli as clap::CommandFactory>::command();
    let router = command.find_subcommand_mut("router").unwrap();
    let help = router.render_long_help().to_string();
    for wanted in ["--workers", "[env: ROUTER_CIPHERS]", "--print-config", "[default: 50000]"] {
        assert!(help.contains(wanted), "{wanted}: {help}");
    }
    for hidden in ["--template", "--kubeconfig", "--resync-interval"] {
        assert!(!help.contains(hidden), "{hidden}");
    }
}
