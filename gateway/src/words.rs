//! What others have written, made fit to be passed on: it may be long, and hold what breaks the place where it is put.

/// What ends a text that was cut.
const CUT: &str = " ... (cut)";

/// The beginning of a text, within so many bytes. Control characters but ends of lines and tabs are shown as unknown: no
/// variable of a process may hold a zero byte, and each is six bytes in JSON.
pub(crate) fn fit(text: &str, bytes_max: usize) -> String {
    let shown = |letter: char| match letter {
        '\n' | '\t' => letter,
        _ if letter.is_control() => char::REPLACEMENT_CHARACTER,
        _ => letter,
    };
    let mut fit: String = text.chars().map(shown).collect();
    if fit.len() > bytes_max {
        let mut end = bytes_max.saturating_sub(CUT.len());
        while !fit.is_char_boundary(end) {
            end -= 1;
        }
        fit.truncate(end);
        fit.push_str(CUT);
    }
    fit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_fits_stays_as_it_is() {
        let text = "one line\n\tand another: no room on /dev/sda (ß, 说)";
        assert_eq!(fit(text, text.len()), text);
    }

    #[test]
    fn what_is_too_long_ends_between_two_letters_within_the_bound() {
        for bytes_max in CUT.len()..60 {
            let cut = fit(&"ß说x".repeat(100), bytes_max);
            assert!(cut.len() <= bytes_max && cut.ends_with(CUT), "{bytes_max}: {cut}");
            assert!(cut.len() + 3 > bytes_max, "no more is left out than a letter: {bytes_max}: {cut}");
        }
    }

    #[test]
    fn control_characters_are_shown_as_unknown() {
        assert_eq!(fit("a\0b\u{1b}[31mc\r\n", 100), "a\u{fffd}b\u{fffd}[31mc\u{fffd}\n");
    }
}
