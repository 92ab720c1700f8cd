//! Texts with wildcards and variables (IAM user guide, "Using wildcards" of "IAM JSON policy elements: Resource",
//! and "IAM policy elements: Variables and tags").
//!
//! `*` stands for any characters, also none, also slashes; `?` for exactly one. `${key}` stands for the value of
//! a condition key, `${key, 'text'}` for the text where the key has no value, and `${*}`, `${?}` and `${$}` for the
//! character itself. A variable names one of the condition keys that there are. What it stands for is taken literally,
//! whatever characters it has.
//!
//! Matching works without recursion, in time of at most the length of the pattern times that of the text, and in
//! memory of a few times the length of the text.

use super::keys::{is_known, unknown};

/// What characters mean in a pattern.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Syntax {
    /// Whether `*` and `?` are wildcards.
    pub(super) wildcards: bool,
    /// Whether `${` begins a variable. Policies of before 2012 have none.
    pub(super) variables: bool,
    /// Whether the case of letters is ignored.
    pub(super) fold: bool,
}

/// The value of a condition key by its [`key_name`]; none where it has none, or several.
pub(super) type Values<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A text that is held against patterns.
pub(super) struct Text(Vec<char>);

impl Text {
    /// `fold` as in the [`Syntax`] of the patterns.
    pub(super) fn new(text: &str, fold: bool) -> Self {
        Self(if fold { folded(text).chars().collect() } else { text.chars().collect() })
    }
}

/// A pattern. Under [`Syntax::fold`], its literal parts are folded.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pieces: Vec<Piece>,
    fold: bool,
}

#[derive(Clone, Debug)]
enum Piece {
    Literal(String),
    One,
    Any,
    Variable { key: String, default: Option<String> },
}

impl Piece {
    fn fold(&mut self) {
        match self {
            Self::Literal(text) | Self::Variable { default: Some(text), .. } => *text = folded(text),
            Self::Variable { default: None, .. } | Self::One | Self::Any => {}
        }
    }
}

/// A piece for one request: what variables stand for has been put in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    Is(char),
    One,
    Any,
}

/// A condition key as requests are asked for it: lower case, but for what follows a slash.
pub(super) fn key_name(key: &str) -> String {
    match key.split_once('/') {
        Some((name, rest)) => format!("{}/{rest}", name.to_ascii_lowercase()),
        None => key.to_ascii_lowercase(),
    }
}

impl Pattern {
    /// Reads one; the only thing that can be wrong is a variable.
    pub(super) fn parse(text: &str, syntax: Syntax) -> Result<Self, String> {
        let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(next) = rest.chars().next() {
            rest = &rest[next.len_utf8()..];
            let piece = match next {
                '*' if syntax.wildcards => Piece::Any,
                '?' if syntax.wildcards => Piece::One,
                '$' if syntax.variables && rest.starts_with('{') => {
                    let Some((inner, after)) = rest[1..].split_once('}') else {
                        return Err("a policy variable that begins with ${ must end with }".into());
                    };
                    rest = after;
                    if matches!(inner, "*" | "?" | "$") {
                        literal.push_str(inner);
                        continue;
                    }
                    variable(inner)?
                }
                other => {
                    literal.push(other);
                    continue;
                }
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(piece);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        if syntax.fold {
            pieces.iter_mut().for_each(Piece::fold);
        }
        Ok(Self { pieces, fold: syntax.fold })
    }

    /// Whether it stands for a text. None, and so it does not, where a variable has no value.
    pub(super) fn matches(&self, text: &Text, values: &Values<'_>) -> Option<bool> {
        let tokens = self.tokens(text.0.len(), values)?;
        Some(!tokens.overfull && fits(&tokens.list, &text.0))
    }

    /// Whether it stands for one text only, whatever the request.
    pub(super) fn is_fixed(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Literal(_)))
    }

    /// The condition keys that its variables name.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable { key, .. } => Some(key.as_str()),
            _ => None,
        })
    }

    /// The pieces for a request. None where a variable has no value.
    fn tokens(&self, room: usize, values: &Values<'_>) -> Option<Tokens> {
        let mut tokens = Tokens { list: Vec::new(), room, overfull: false };
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => tokens.text(text),
                Piece::Variable { key, default } => match values(key) {
                    Some(value) if self.fold => tokens.text(&folded(&value)),
                    Some(value) => tokens.text(&value),
                    None => tokens.text(default.as_deref()?),
                },
                Piece::One => tokens.push(Token::One),
                Piece::Any => tokens.any(),
            }
        }
        Some(tokens)
    }
}

/// Tokens that together need at most as many characters as a text has.
struct Tokens {
    list: Vec<Token>,
    /// How many more characters there may be.
    room: usize,
    /// Whether there were more.
    overfull: bool,
}

impl Tokens {
    fn push(&mut self, token: Token) {
        match self.room.checked_sub(1) {
            Some(room) => {
                self.room = room;
                self.list.push(token);
            }
            None => self.overfull = true,
        }
    }

    fn any(&mut self) {
        if self.list.last() != Some(&Token::Any) {
            self.list.push(Token::Any);
        }
    }

    fn text(&mut self, text: &str) {
        for character in text.chars() {
            if self.overfull {
                break;
            }
            self.push(Token::Is(character));
        }
    }
}

/// What stands between `${` and `}`.
fn variable(inner: &str) -> Result<Piece, String> {
    let (key, default) = match inner.split_once(',') {
        Some((key, default)) => (key, Some(default.trim())),
        None => (inner, None),
    };
    let key = key.trim();
    if key.is_empty() || key.contains(|character: char| character.is_whitespace() || character == '$') {
        return Err(format!("the policy variable {} does not name a condition key", super::shown(inner)));
    }
    let unquoted = default.map(|text| text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')));
    if unquoted == Some(None) {
        let why = "must have its default value between single quotation marks";
        return Err(format!("the policy variable {} {why}", super::shown(inner)));
    }
    if !is_known(key) {
        let why = format!("the policy variable {} names no condition key", super::shown(inner));
        return Err(format!("{why}: {}", unknown(key)));
    }
    let default = unquoted.flatten().map(str::to_owned);
    Ok(Piece::Variable { key: key_name(key), default })
}

/// A text as it is compared when the case of letters is ignored: each character by itself, wherever it stands.
fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Takes `*` for as little as possible, and goes back to the last one to let it take more.
fn fits(tokens: &[Token], text: &[char]) -> bool {
    let (mut token_at, mut text_at) = (0, 0);
    let mut last_any: Option<(usize, usize)> = None;
    while let Some(character) = text.get(text_at) {
        match tokens.get(token_at) {
            Some(Token::Any) => {
                token_at += 1;
                last_any = Some((token_at, text_at));
            }
            Some(Token::One) => (token_at, text_at) = (token_at + 1, text_at + 1),
            Some(Token::Is(wanted)) if wanted == character => {
                (token_at, text_at) = (token_at + 1, text_at + 1);
            }
            _ => {
                let Some((after, taken)) = last_any else { return false };
                (token_at, text_at) = (after, taken + 1);
                last_any = Some((after, taken + 1));
            }
        }
    }
    tokens[token_at..].iter().all(|token| *token == Token::Any)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FULL: Syntax = Syntax { wildcards: true, variables: true, fold: false };

    fn values(key: &str) -> Option<String> {
        match key {
            "aws:username" => Some("an*a".into()),
            "s3:ExistingObjectTag/Name" => unreachable!("the part before the slash is in lower case"),
            "s3:existingobjecttag/Name" => Some("tag".into()),
            _ => None,
        }
    }

    fn matches(pattern: &str, text: &str, syntax: Syntax) -> Option<bool> {
        Pattern::parse(pattern, syntax).unwrap().matches(&Text::new(text, syntax.fold), &values)
    }

    #[test]
    fn wildcards_stand_for_any_or_one_character() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("**", "a", true),
            ("?", "", false),
            ("?", "ä", true),
            ("?", "ab", false),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("a?c*", "abc", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("A", "a", false),
        ] {
            assert_eq!(matches(pattern, text, FULL), Some(expected), "{pattern} {text}");
        }
    }

    #[test]
    fn syntax_says_what_is_special() {
        let plain = Syntax::default();
        assert_eq!(matches("a*", "a*", plain), Some(true));
        assert_eq!(matches("a*", "ab", plain), Some(false));
        assert_eq!(matches("${aws:username}", "${aws:username}", plain), Some(true));
        assert_eq!(matches("S3:Get*", "s3:getobject", Syntax { fold: true, ..FULL }), Some(true));
    }

    #[test]
    fn variables_stand_for_literal_values() {
        for (pattern, text, expected) in [
            ("${aws:username}", "an*a", Some(true)),
            ("${AWS:UserName}/*", "an*a/x", Some(true)),
            ("${aws:username}", "anna", Some(false)),
            ("${*}${?}${$}", "*?$", Some(true)),
            ("${*}", "x", Some(false)),
            ("${S3:ExistingObjectTag/Name}", "tag", Some(true)),
            ("${aws:userid}", "", None),
            ("*${aws:userid}", "x", None),
            ("far too long a pattern ${aws:userid}", "x", None),
            ("${aws:userid, 'some one'}", "some one", Some(true)),
            ("${aws:username,'x'}", "an*a", Some(true)),
            ("$x$", "$x$", Some(true)),
        ] {
            assert_eq!(matches(pattern, text, FULL), expected, "{pattern} {text}");
        }
        for wrong in
            ["${aws:username", "${aws:none}", "${}", "${ }", "${a b}", "${a, b}", "${a, '}", "${${a}}"]
        {
            assert!(Pattern::parse(wrong, FULL).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hostile_patterns_take_little_time() {
        let pattern = "*a".repeat(10_000) + "b";
        let text = "a".repeat(1024);
        assert_eq!(matches(&pattern, &text, FULL), Some(false));
        let pattern = "*".to_owned() + &"a".repeat(512) + "b*";
        assert_eq!(matches(&pattern, &text, FULL), Some(false));
    }

    /// The definition, word for word.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', pattern)), None) => naive(pattern, text),
            (Some(('*', rest)), Some((_, after))) => naive(rest, text) || naive(pattern, after),
            (Some(('?', pattern)), Some((_, text))) => naive(pattern, text),
            (Some((wanted, pattern)), Some((character, text))) => wanted == character && naive(pattern, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_the_definition_says(pattern in "[ab*?]{0,10}", text in "[abä]{0,10}") {
            let (pattern_characters, text_characters): (Vec<_>, Vec<_>) =
                (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(matches(&pattern, &text, FULL), Some(naive(&pattern_characters, &text_characters)));
        }

        #[test]
        fn any_text_is_read_or_refused(pattern in any::<String>(), text in any::<String>(), fold: bool) {
            if let Ok(pattern) = Pattern::parse(&pattern, Syntax { fold, ..FULL }) {
                pattern.matches(&Text::new(&text, fold), &values);
            }
            let literal = Pattern::parse(&text, Syntax { fold, ..Syntax::default() });
            let matches = literal.map(|pattern| pattern.matches(&Text::new(&text, fold), &values));
            prop_assert_eq!(matches, Ok(Some(true)));
        }
    }
}
