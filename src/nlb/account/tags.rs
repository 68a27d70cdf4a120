//! Tags: `AddTags`, `RemoveTags`, `DescribeTags` (spec/l4-dns.md A.13).

use super::{
    Account, Kind, Tags,
    error::{Code, Refusal, invalid},
};

/// Tags of a resource at most.
const MAX_TAGS: usize = 50;
/// Resources of `DescribeTags` at most.
const MAX_RESOURCES: usize = 20;

/// The tags of something new.
pub(super) fn of_new(given: &[(String, String)]) -> Result<Tags, Refusal> {
    let mut tags = Tags::new();
    add(&mut tags, given)?;
    Ok(tags)
}

fn add(tags: &mut Tags, given: &[(String, String)]) -> Result<(), Refusal> {
    for (index, (key, value)) in given.iter().enumerate() {
        if given[..index].iter().any(|(other, _)| other == key) {
            let text = format!("The tag key '{key}' is specified twice");
            return Err(Code::DuplicateTagKeys.because(text));
        }
        let fits = |text: &str| {
            text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c))
        };
        if key.is_empty() || key.chars().count() > 128 || !fits(key) || key.starts_with("aws:") {
            return Err(invalid(format!("The tag key '{key}' is not valid")));
        }
        if value.chars().count() > 256 || !fits(value) {
            return Err(invalid(format!("The tag value '{value}' is not valid")));
        }
        tags.insert(key.clone(), value.clone());
    }
    if tags.len() > MAX_TAGS {
        let text = format!("A resource has at most {MAX_TAGS} tags");
        return Err(Code::TooManyTags.because(text));
    }
    Ok(())
}

impl Account {
    /// `AddTags`: a key that is there gets the new value.
    ///
    /// # Errors
    /// A resource is not there, or a tag is not one.
    pub fn add_tags(&mut self, arns: &[String], tags: &[(String, String)]) -> Result<(), Refusal> {
        if tags.is_empty() {
            return Err(invalid("At least one tag must be specified"));
        }
        arns.iter().try_for_each(|arn| add(self.tags_mut(arn)?, tags))
    }

    /// `RemoveTags`: keys that are not there do not matter.
    ///
    /// # Errors
    /// A resource is not there.
    pub fn remove_tags(&mut self, arns: &[String], keys: &[String]) -> Result<(), Refusal> {
        for arn in arns {
            self.tags_mut(arn)?.retain(|key, _| !keys.contains(key));
        }
        Ok(())
    }

    /// `DescribeTags`.
    ///
    /// # Errors
    /// A resource is not there.
    pub fn tags(&self, arns: &[String]) -> Result<Vec<(String, &Tags)>, Refusal> {
        if arns.len() > MAX_RESOURCES {
            return Err(invalid(format!("At most {MAX_RESOURCES} resources can be described")));
        }
        let of = |arn: &String| {
            let tags = match Kind::of(arn) {
                Some(Kind::Balancer) => &self.balancer(arn)?.tags,
                Some(Kind::Group) => &self.group(arn)?.tags,
                Some(Kind::Listener) => &self.listener(arn)?.tags,
                None => return Err(no_resource(arn)),
            };
            Ok((arn.clone(), tags))
        };
        arns.iter().map(of).collect()
    }

    fn tags_mut(&mut self, arn: &str) -> Result<&mut Tags, Refusal> {
        match Kind::of(arn) {
            Some(Kind::Balancer) => Ok(&mut self.balancer_mut(arn)?.tags),
            Some(Kind::Group) => Ok(&mut self.group_mut(arn)?.tags),
            Some(Kind::Listener) => Ok(&mut self.listener_mut(arn)?.tags),
            None => Err(no_resource(arn)),
        }
    }
}

fn no_resource(arn: &str) -> Refusal {
    invalid(format!("'{arn}' is not a valid ARN of a resource with tags"))
}
