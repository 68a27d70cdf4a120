//! A target of the load balancer: what `aws elbv2 describe-target-health` says of it, as a page.

use serde::{Deserialize, de::value::StrDeserializer};

use super::Page;
use crate::{
    app::table::{KUBECTL_DESCRIBE, align},
    health::Code,
};

/// A target as `/api/v1/targets` gives it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TargetView {
    target_group: String,
    id: String,
    port: u16,
    availability_zone: Option<String>,
    health_check_port: u16,
    state: String,
    reason: Option<String>,
    active_flows: i64,
}

/// A target, with what its reason means.
pub(super) fn describe(target: &TargetView) -> String {
    let mut page = Page::default();
    page.field("Target", &target.id);
    page.field("Port", &target.port.to_string());
    page.field("Target Group", &target.target_group);
    page.field("Availability Zone", target.availability_zone.as_deref().unwrap_or_default());
    page.field("Health Check Port", &target.health_check_port.to_string());
    page.field("State", &target.state);
    let reason = target.reason.as_deref().unwrap_or_default();
    page.field("Reason", reason);
    if let Some(meaning) = meaning(reason) {
        page.field("Description", meaning);
    }
    page.field("Active Flows", &target.active_flows.to_string());
    align(&page.0, KUBECTL_DESCRIBE)
}

/// What a reason code says; nothing if it is of another version.
fn meaning(reason: &str) -> Option<&'static str> {
    let code = StrDeserializer::<serde::de::value::Error>::new(reason);
    Code::deserialize(code).ok().map(Code::meaning)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn described(target: serde_json::Value) -> String {
        describe(&serde_json::from_value(target).unwrap())
    }

    #[test]
    fn a_reason_is_explained() {
        let text = described(json!({"targetGroup": "https", "id": "10.0.0.1", "port": 8443,
            "availabilityZone": "a", "healthCheckPort": 1936, "state": "unhealthy",
            "reason": "Target.Timeout", "activeFlows": 2}));
        assert_eq!(
            text,
            "\
Target:             10.0.0.1
Port:               8443
Target Group:       https
Availability Zone:  a
Health Check Port:  1936
State:              unhealthy
Reason:             Target.Timeout
Description:        Health checks got no answer in time
Active Flows:       2
"
        );
    }

    #[test]
    fn a_healthy_target_has_no_reason() {
        let text = described(json!({"targetGroup": "https", "id": "10.0.0.1", "port": 1,
            "healthCheckPort": 1, "state": "healthy", "activeFlows": 0}));
        assert!(text.contains("Availability Zone:  <none>\n"), "{text}");
        assert!(text.contains("Reason:             <none>\n"), "{text}");
        assert!(!text.contains("Description"), "{text}");
        assert_eq!(meaning("Target.OfTomorrow"), None);
    }
}
