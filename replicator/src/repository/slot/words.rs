//! A recovery key as words: 24 of the 2,048 English words of BIP-39, the last eight bits being its checksum.
//!
//! Words are easier to read aloud and to copy by hand than characters. The first four letters of each tell it from all
//! others, so they are enough when it is typed. A word that is none is named by its number; a wrong one that is a word is
//! found by the checksum, but for one in 256, and then by the slot, which does not open.

use bip39::{Language, Mnemonic};
use tidegate_chunker::SecretKey;
use zeroize::{Zeroize, Zeroizing};

use super::recovery_key::wrong;
use crate::repository::error::Result;

/// How many words there are.
pub(super) const WORDS: usize = 24;
/// Letters that tell a word from all others.
const LETTERS_TOLD: usize = 4;

/// The words of a secret, with spaces between.
pub(super) fn words_of(secret: &SecretKey) -> Zeroizing<String> {
    let mnemonic = Mnemonic::from_entropy_in(Language::English, secret.as_bytes());
    let mnemonic = mnemonic.expect("32 bytes make 24 words");
    let mut text = Zeroizing::new(String::with_capacity(WORDS * 9));
    for word in mnemonic.words() {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
    }
    text
}

/// Whether a text is meant as words: nothing else that opens a repository has that form.
pub(super) fn are_words(text: &str) -> bool {
    let is_word = |word: &str| word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    text.split_whitespace().count() == WORDS && text.split_whitespace().all(is_word)
}

/// The secret that 24 words stand for.
pub(super) fn secret_of(text: &str) -> Result<SecretKey> {
    let mut whole = Zeroizing::new(String::with_capacity(WORDS * 9));
    for (number, typed) in text.split_whitespace().enumerate() {
        let typed = Zeroizing::new(typed.to_ascii_lowercase());
        let word = word_meant(&typed)
            .ok_or_else(|| wrong(format!("word {} of {WORDS} is not in the list", number + 1)))?;
        if number > 0 {
            whole.push(' ');
        }
        whole.push_str(word);
    }
    let mnemonic = Mnemonic::parse_in_normalized(Language::English, &whole)
        .map_err(|_| wrong("one of its words is another, or two have changed places"))?;
    let mut entropy = mnemonic.to_entropy();
    let secret = <[u8; SecretKey::LEN]>::try_from(entropy.as_slice()).map(SecretKey::new);
    entropy.zeroize();
    secret.map_err(|_| wrong(format!("it has not {WORDS} words")))
}

/// The word of the list that was typed, whole or its first letters.
fn word_meant(typed: &str) -> Option<&'static str> {
    let words = Language::English.word_list();
    if let Some(place) = Language::English.find_word(typed) {
        return Some(words[usize::from(place)]);
    }
    let mut meant = words.iter().copied().filter(|word| word.starts_with(typed));
    let word = meant.next().filter(|_| typed.len() >= LETTERS_TOLD)?;
    meant.next().is_none().then_some(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_words_are_those_of_the_standard() {
        // The test vectors of BIP-39 for 32 bytes.
        let of = |byte: u8| words_of(&SecretKey::new([byte; 32])).to_string();
        assert_eq!(of(0), format!("{}art", "abandon ".repeat(23)));
        assert_eq!(of(0xff), format!("{}vote", "zoo ".repeat(23)));
        assert!(of(0x7f).ends_with("winner thank year wave sausage worth title"));
    }

    proptest! {
        #[test]
        fn words_are_read_back_also_from_their_first_letters(bytes: [u8; 32]) {
            let secret = SecretKey::new(bytes);
            let words = words_of(&secret);
            prop_assert!(are_words(&words));
            prop_assert_eq!(&secret_of(&words).expect("reads"), &secret);
            let short: Vec<String> =
                words.split(' ').map(|word| word.chars().take(4).collect::<String>().to_uppercase()).collect();
            prop_assert_eq!(&secret_of(&short.join("\n ")).expect("reads"), &secret);
        }

        #[test]
        fn a_word_that_is_none_is_named(bytes: [u8; 32], at in 0..WORDS) {
            let words = words_of(&SecretKey::new(bytes));
            let mut words: Vec<&str> = words.split(' ').collect();
            words[at] = "tidegate";
            let error = secret_of(&words.join(" ")).expect_err("refused").to_string();
            let named = format!("word {} of", at + 1);
            prop_assert!(error.contains(&named), "{}", error);
        }
    }

    #[test]
    fn a_wrong_checksum_is_found() {
        assert!(secret_of(&"abandon ".repeat(24)).is_err());
        assert!(!are_words(&"abandon ".repeat(23)));
    }
}
