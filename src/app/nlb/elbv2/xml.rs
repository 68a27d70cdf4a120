//! A writer of XML: elements in elements, with their texts escaped.
//!
//! Pure. Always holds: what it writes is well-formed, whatever the texts are.

/// Namespace of all answers.
const NAMESPACE: &str = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/";

/// The inside of an element.
#[derive(Debug, Default)]
pub(super) struct Xml(String);

impl Xml {
    /// An element with what `inside` writes.
    pub(super) fn element(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        self.0.extend(["<", name, ">"]);
        inside(self);
        self.0.extend(["</", name, ">"]);
    }

    /// An element with a text.
    pub(super) fn text(&mut self, name: &str, text: impl AsRef<str>) {
        self.element(name, |xml| text.as_ref().chars().for_each(|c| xml.escape(c)));
    }

    /// An element with a text, if there is one.
    pub(super) fn optional(&mut self, name: &str, text: Option<impl AsRef<str>>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// A list of structures.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        inside: impl Fn(&mut Self, T),
    ) {
        self.element(name, |xml| {
            for item in items {
                xml.element("member", |xml| inside(xml, item));
            }
        });
    }

    /// A list of texts.
    pub(super) fn texts<T: AsRef<str>>(&mut self, name: &str, items: impl IntoIterator<Item = T>) {
        self.element(name, |xml| {
            for item in items {
                xml.text("member", item);
            }
        });
    }

    fn escape(&mut self, c: char) {
        match c {
            '&' => self.0.push_str("&amp;"),
            '<' => self.0.push_str("&lt;"),
            '>' => self.0.push_str("&gt;"),
            '"' => self.0.push_str("&quot;"),
            // A reader would make a line feed of a bare one.
            '\r' => self.0.push_str("&#13;"),
            '\t' | '\n' => self.0.push(c),
            // XML 1.0 has no way to write these.
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => self.0.push('\u{fffd}'),
            _ => self.0.push(c),
        }
    }

    /// The answer to a call.
    pub(super) fn answer(self, action: &str, request: &str) -> String {
        let result = self.0;
        format!(
            "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{result}</{action}Result>\
             <ResponseMetadata><RequestId>{request}</RequestId></ResponseMetadata>\
             </{action}Response>"
        )
    }

    /// The answer that says what went wrong; `Sender` if the caller can do something about it.
    pub(super) fn error(code: &str, message: &str, sender: bool, request: &str) -> String {
        let mut xml = Self::default();
        xml.element("Error", |xml| {
            xml.text("Type", if sender { "Sender" } else { "Receiver" });
            xml.text("Code", code);
            xml.text("Message", message);
        });
        let error = xml.0;
        format!(
            "<ErrorResponse xmlns=\"{NAMESPACE}\">{error}<RequestId>{request}</RequestId>\
             </ErrorResponse>"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        let mut xml = Xml::default();
        xml.text("A", "<&>\"'\u{e9}\r\n\0\u{ffff}");
        assert_eq!(xml.0, "<A>&lt;&amp;&gt;&quot;'\u{e9}&#13;\n\u{fffd}\u{fffd}</A>");
    }

    #[test]
    fn lists_have_members() {
        let mut xml = Xml::default();
        xml.texts("L", ["a", "b"]);
        xml.list("S", [1], |xml, number| xml.text("N", number.to_string()));
        xml.optional("O", None::<&str>);
        let inside = "<L><member>a</member><member>b</member></L><S><member><N>1</N></member></S>";
        assert_eq!(
            xml.answer("Do", "r"),
            format!(
                "<DoResponse xmlns=\"{NAMESPACE}\"><DoResult>{inside}</DoResult>\
                 <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></DoResponse>"
            )
        );
    }

    #[test]
    fn an_error_says_whose_fault_it_is() {
        let text = Xml::error("Throttling", "a<b", false, "r");
        assert!(text.contains("<Type>Receiver</Type><Code>Throttling</Code>"), "{text}");
        assert!(text.contains("<Message>a&lt;b</Message></Error><RequestId>r</RequestId>"));
    }
}
