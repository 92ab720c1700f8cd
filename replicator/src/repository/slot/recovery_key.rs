//! The recovery key: a secret that is printed once, kept on paper, and typed in when all else is lost.
//!
//! ```text
//! 13 groups of 5 characters:  data data data data check
//! 52 data characters = 260 bits: 4 bits version (1), then the 32 bytes of the secret
//! ```
//!
//! Characters are Crockford's base 32: no I, L, O, U; when read, case, spaces and dashes do not count, I
//! and L are taken for 1, O for 0. The check character of a group is a weighted sum in the field of 32
//! elements over the number of the group and its four characters, each with a weight of its own: one
//! wrong character, two swapped ones, or a group in another's place are always found, and the error
//! names the group. The same secret can be written as words too, see [`super::words`].

use std::fmt;

use tidegate_chunker::SecretKey;
use zeroize::Zeroizing;

use super::words;
use crate::repository::chance::random;
use crate::repository::error::{RepositoryError, Result};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const GROUPS: usize = 13;
const GROUP_DATA: usize = 4;
const GROUP_CHARS: usize = GROUP_DATA + 1;
const VERSION: u8 = 1;

/// Four bits of version and the secret fill the data characters exactly.
const _: () = assert!(4 + 8 * SecretKey::LEN == 5 * GROUPS * GROUP_DATA);

/// A secret that can be written on paper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryKey(SecretKey);

impl RecoveryKey {
    /// A new one, at random.
    pub fn generate() -> Result<Self> {
        Ok(Self(SecretKey::new(*Zeroizing::new(random()?))))
    }

    /// Reads what was printed, or typed from it: characters or words.
    pub fn parse(text: &str) -> Result<Self> {
        if words::are_words(text) {
            return words::secret_of(text).map(Self);
        }
        let digits = Zeroizing::new(digits_of(text)?);
        for (group, digits) in digits.chunks_exact(GROUP_CHARS).enumerate() {
            if check_digit(group, &digits[..GROUP_DATA]) != digits[GROUP_DATA] {
                return Err(wrong(format!("group {} of {GROUPS} is mistyped", group + 1)));
            }
        }
        let data = digits.chunks_exact(GROUP_CHARS).flat_map(|group| &group[..GROUP_DATA]);
        unpack(data.copied())
    }

    /// The text to print: groups joined by dashes.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(GROUPS * (GROUP_CHARS + 1)));
        let digits = Zeroizing::new(pack(&self.0));
        for (group, data) in digits.chunks_exact(GROUP_DATA).enumerate() {
            if group > 0 {
                text.push('-');
            }
            let check = check_digit(group, data);
            data.iter()
                .chain([&check])
                .for_each(|digit| text.push(char::from(ALPHABET[usize::from(*digit)])));
        }
        text
    }

    /// The same as 24 words to print, with spaces between.
    pub fn to_words(&self) -> Zeroizing<String> {
        words::words_of(&self.0)
    }

    pub(super) fn secret(&self) -> &SecretKey {
        &self.0
    }
}

pub(super) fn wrong(why: impl fmt::Display) -> RepositoryError {
    RepositoryError::invalid(format!("this is no recovery key: {why}"))
}

fn digits_of(text: &str) -> Result<Vec<u8>> {
    let mut digits = Vec::with_capacity(GROUPS * GROUP_CHARS);
    for character in text.chars().filter(|character| !character.is_whitespace() && *character != '-') {
        if digits.len() == GROUPS * GROUP_CHARS {
            return Err(wrong(format!("it has more than {} characters", GROUPS * GROUP_CHARS)));
        }
        let group = digits.len() / GROUP_CHARS + 1;
        digits.push(
            digit_of(character)
                .ok_or_else(|| wrong(format!("group {group} has a character that none has")))?,
        );
    }
    match digits.len() {
        length if length == GROUPS * GROUP_CHARS => Ok(digits),
        length => Err(wrong(format!("it has {length} characters instead of {}", GROUPS * GROUP_CHARS))),
    }
}

fn digit_of(character: char) -> Option<u8> {
    let folded = match character.to_ascii_uppercase() {
        'I' | 'L' => '1',
        'O' => '0',
        other => other,
    };
    ALPHABET.iter().position(|known| char::from(*known) == folded).map(|position| position as u8)
}

/// The sum of `weight^i * digit_i` in the field of 32 elements, over group number and data. The last
/// data character has weight 1, not 0: it can be told from the check character.
fn check_digit(group: usize, data: &[u8]) -> u8 {
    double(data.iter().fold(group as u8, |sum, digit| double(sum) ^ digit))
}

/// Multiplies by the generator of the field, modulo x^5 + x^2 + 1.
fn double(element: u8) -> u8 {
    let shifted = element << 1;
    if shifted & 32 == 0 { shifted } else { shifted ^ 0b10_0101 }
}

/// Version and secret as digits of five bits, most significant first.
fn pack(secret: &SecretKey) -> Vec<u8> {
    let nibbles =
        std::iter::once(VERSION).chain(secret.as_bytes().iter().flat_map(|byte| [byte >> 4, byte & 15]));
    let mut digits = Vec::with_capacity(GROUPS * GROUP_DATA);
    let (mut pending, mut bits) = (0_u32, 0);
    for nibble in nibbles {
        pending = pending << 4 | u32::from(nibble);
        bits += 4;
        if bits >= 5 {
            bits -= 5;
            digits.push((pending >> bits & 31) as u8);
        }
    }
    digits
}

/// The inverse of [`pack`].
fn unpack(digits: impl Iterator<Item = u8>) -> Result<RecoveryKey> {
    let mut secret = Zeroizing::new([0_u8; SecretKey::LEN]);
    let (mut pending, mut bits, mut nibbles) = (0_u32, 0, 0_usize);
    for digit in digits {
        pending = pending << 5 | u32::from(digit);
        bits += 5;
        while bits >= 4 {
            bits -= 4;
            let nibble = (pending >> bits & 15) as u8;
            match nibbles.checked_sub(1) {
                None if nibble == VERSION => {}
                None => {
                    return Err(wrong(format!(
                        "it is of version {nibble}; this program reads version {VERSION}"
                    )));
                }
                Some(at) => secret[at / 2] |= if at % 2 == 0 { nibble << 4 } else { nibble },
            }
            nibbles += 1;
        }
    }
    Ok(RecoveryKey(SecretKey::new(*secret)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(bytes: [u8; 32]) -> RecoveryKey {
        RecoveryKey(SecretKey::new(bytes))
    }

    #[test]
    fn the_text_is_as_the_format_says() {
        let text = key([0; 32]).to_text();
        assert!(text.starts_with("20005-00005-"), "{}", *text);
        assert_eq!(text.split('-').count(), GROUPS);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back_however_it_is_typed(bytes: [u8; 32]) {
            let text = key(bytes).to_text();
            let typed = text.to_lowercase().replace('-', " ").replace('1', "l").replace('0', "o");
            prop_assert_eq!(RecoveryKey::parse(&text).expect("reads"), key(bytes));
            prop_assert_eq!(RecoveryKey::parse(&typed).expect("reads"), key(bytes));
        }

        #[test]
        fn one_wrong_character_is_found_with_its_group(bytes: [u8; 32], at in 0..65_usize, other in 0..32_usize) {
            let mut text: Vec<u8> = key(bytes).to_text().replace('-', "").into_bytes();
            prop_assume!(text[at] != ALPHABET[other]);
            text[at] = ALPHABET[other];
            let error = RecoveryKey::parse(std::str::from_utf8(&text).expect("ASCII")).expect_err("found");
            let group = format!("group {} ", at / 5 + 1);
            prop_assert!(error.to_string().contains(&group), "{}", error);
        }

        #[test]
        fn two_swapped_characters_or_groups_are_found(bytes: [u8; 32], at in 0..64_usize, group in 0..12_usize) {
            let text: Vec<u8> = key(bytes).to_text().replace('-', "").into_bytes();
            let parse = |text: &[u8]| RecoveryKey::parse(std::str::from_utf8(text).expect("ASCII"));
            let mut swapped = text.clone();
            swapped.swap(at, at + 1);
            prop_assert!(swapped == text || parse(&swapped).is_err());
            let mut swapped = text.clone();
            swapped[5 * group..5 * group + 10].rotate_left(5);
            prop_assert!(swapped == text || parse(&swapped).is_err());
        }
    }

    #[test]
    fn lengths_and_strange_characters_are_named() {
        for (text, expected) in [("", "0 characters"), ("U", "group 1 "), (&"0".repeat(66), "more than 65")] {
            let error = RecoveryKey::parse(text).expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
