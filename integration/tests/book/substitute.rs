//! Words of a page, and what stands for them here.

/// Replaces each of the table's words by what stands for it, in one pass: what was put in is not looked at again. Of two that begin at
/// the same place the longer one counts.
pub(crate) fn substitute(text: &str, table: &[(String, String)]) -> String {
    let (mut done, mut rest) = (String::new(), text);
    while let Some(next) = rest.chars().next() {
        let fitting = table.iter().filter(|(word, _)| rest.starts_with(word.as_str()));
        match fitting.max_by_key(|(word, _)| word.len()) {
            Some((word, by)) => {
                done.push_str(by);
                rest = &rest[word.len()..];
            }
            None => {
                done.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    done
}

#[test]
fn what_was_put_in_is_not_replaced_again() {
    let table = [("/a", "/x/a"), ("/x", "/y"), ("/a/b", "/z")].map(|(from, to)| (from.into(), to.into()));
    assert_eq!(substitute("/a /x /a/b", &table), "/x/a /y /z");
}
