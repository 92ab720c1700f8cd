//! Answers of EC2 as trees of elements: they are short, and only a few values of each are read.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// The deepest element that is read; answers of EC2 have about ten levels.
const DEPTH_MAX: usize = 64;

/// An element, without its attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Reads the one element of an answer; none if it is no such.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader::from_str(text);
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) if open.len() < DEPTH_MAX => {
                    let name = String::from_utf8(start.local_name().as_ref().to_vec()).ok()?;
                    open.push(Self { name, ..Self::default() });
                }
                Event::Start(_) => return None,
                Event::Empty(empty) => {
                    let name = String::from_utf8(empty.local_name().as_ref().to_vec()).ok()?;
                    open.last_mut()?.children.push(Self { name, ..Self::default() });
                }
                Event::End(_) => {
                    let closed = open.pop()?;
                    open.last_mut()?.children.push(closed);
                }
                Event::Text(part) => open.last_mut()?.text.push_str(&part.decode().ok()?),
                Event::GeneralRef(reference) => {
                    let name = reference.decode().ok()?;
                    let letter = reference.resolve_char_ref().ok()?.map(String::from);
                    let meant = letter.or_else(|| resolve_predefined_entity(&name).map(str::to_owned))?;
                    open.last_mut()?.text.push_str(&meant);
                }
                Event::Eof => break,
                Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
        let document = open.pop().filter(|_| open.is_empty())?;
        document.children.into_iter().next()
    }

    /// The element at a path below this one.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |element, name| element.children.iter().find(|child| child.name == *name))
    }

    /// The text at a path below this one, if there is any.
    pub(super) fn text(&self, path: &[&str]) -> Option<&str> {
        self.at(path).map(|element| element.text.trim()).filter(|text| !text.is_empty())
    }

    /// The elements of a list at a path below this one.
    pub(super) fn list(&self, path: &[&str]) -> impl Iterator<Item = &Self> {
        self.at(path).map(|list| list.children.as_slice()).unwrap_or_default().iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_lists_are_found_by_their_paths() {
        let text = "<?xml version=\"1.0\"?>\n<Answer xmlns=\"http://x\"><set><item><id>a&amp;b&#33;</id></item>\
                    <item><id> c </id><none/></item></set></Answer>";
        let answer = Element::parse(text).expect("an answer");
        let ids: Vec<_> = answer.list(&["set"]).filter_map(|item| item.text(&["id"])).collect();
        assert_eq!(ids, ["a&b!", "c"]);
        assert_eq!((answer.text(&["set", "item", "none"]), answer.text(&["other", "id"])), (None, None));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        let deep = "<a>".repeat(100);
        for text in ["", "no", "<a>", "<a></b>", "<a>&what;</a>", &deep] {
            assert_eq!(Element::parse(text), None, "{text}");
        }
    }
}
