//! What DNS says of a load balancer.

use super::*;

/// A.2: what DNS says follows the targets, is made once for each change, and waits for nobody.
#[tokio::test]
async fn the_view_of_dns_follows_changes_without_waiting() {
    let targets = [Target::start(0).await];
    let mut config = forwarding(&targets, &[1]);
    config.zones = vec!["a".into()];
    let (handle, _) = start(config.clone()).await;
    assert!(!handle.dns_view().zones[0].healthy, "not checked yet");
    until(&handle, all(State::Healthy)).await;
    let view = handle.dns_view();
    assert!(view.zones[0].healthy && view.names.regional == handle.names().regional);
    assert!(Arc::ptr_eq(&view, &handle.dns_view()), "nothing has changed");

    // As while a configuration is being applied.
    let running = handle.lock();
    handle.0.shared.changes.send_modify(|count| *count += 1);
    assert!(Arc::ptr_eq(&view, &handle.dns_view()));
    drop(running);
    assert!(!Arc::ptr_eq(&view, &handle.dns_view()));

    config.zones = vec!["a".into(), "b".into()];
    handle.apply(config).unwrap();
    assert_eq!(handle.dns_view().zones.len(), 2);
}
