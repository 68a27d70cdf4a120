//! What the status of a route says of its annotations.
//!
//! Called by compile. Whatever a finding says of an annotation, the condition says as well, for those
//! who see the route and not the router.

use std::collections::HashMap;

use crate::model::{
    finding::{ANNOTATION, Finding, excerpt},
    objects::ObjectKey,
};

/// Findings that one message holds; how many more there are is said.
const FINDINGS: usize = 8;

/// Characters of one finding in a message.
const CHARACTERS: usize = 256;

/// What the source found, by object.
#[derive(Debug)]
pub(super) struct Annotations(HashMap<String, Vec<String>>);

impl Annotations {
    /// Those of `findings` that are about annotations.
    pub(super) fn of(findings: &[Finding]) -> Self {
        let mut texts = HashMap::<String, Vec<String>>::new();
        for finding in findings.iter().filter(|finding| is_about_one(finding)) {
            texts.entry(finding.object.clone()).or_default().push(text(finding));
        }
        Self(texts)
    }

    /// The message for route `key`, of which `more` was found just now; empty for nothing. Its length
    /// has a bound.
    pub(super) fn message(&self, key: &ObjectKey, more: &[Finding]) -> String {
        let more = more.iter().filter(|finding| is_about_one(finding)).map(text);
        // Most routes have nothing to say, and cost no text.
        let known = (!self.0.is_empty()).then(|| self.0.get(&format!("Route {key}"))).flatten();
        let all: Vec<String> = known.into_iter().flatten().cloned().chain(more).collect();
        let mut message = all[..all.len().min(FINDINGS)].join("; ");
        if let Some(more @ 1..) = all.len().checked_sub(FINDINGS) {
            message.push_str("; and ");
            message.push_str(&more.to_string());
            message.push_str(" more");
        }
        message
    }
}

fn is_about_one(finding: &Finding) -> bool {
    finding.field.starts_with(ANNOTATION)
}

/// `WH2004: timeout must be ...`
fn text(finding: &Finding) -> String {
    let whole = match finding.fix.as_str() {
        "" => format!("{}: {}", finding.code, finding.text),
        fix => format!("{}: {}; {fix}", finding.code, finding.text),
    };
    excerpt(&whole, CHARACTERS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::finding::{Place, codes};

    fn finding(object: &str, field: &str, text: &str) -> Finding {
        Finding::new(codes::BAD_ANNOTATION, Place::file("a.yaml"), text)
            .with_field(field)
            .with_object(object)
    }

    /// [ANN-0]: of this route, of annotations, and no longer than it may be.
    #[test]
    fn ann_0_a_message_is_about_one_routes_annotations() {
        let key = ObjectKey::new("app", "web");
        let field = "metadata.annotations[a/b]";
        let known = [
            finding("Route app/web", field, "one"),
            finding("Route app/web", "spec.path", "two"),
            finding("Route app/other", field, "three"),
        ];
        let annotations = Annotations::of(&known);
        assert_eq!(annotations.message(&key, &[]), "WH2004: one");
        let more = finding("Route app/web", field, "four");
        assert_eq!(annotations.message(&key, &[more]), "WH2004: one; WH2004: four");
        assert_eq!(Annotations::of(&[]).message(&key, &[]), "");
        let many = vec![finding("Route app/web", field, &"ü".repeat(1000)); 11];
        let message = annotations.message(&key, &many);
        assert!(message.ends_with("; and 4 more"), "{message}");
        assert!(message.chars().count() < FINDINGS * (CHARACTERS + 5) + 20);
    }
}
