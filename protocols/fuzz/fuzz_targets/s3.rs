//! What an S3 client may send before it is known, and texts of ours that come back: forms and their policies, tokens,
//! keys and ranges.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_protocols::s3::fuzzing;

fuzz_target!(|input: (u8, String, Vec<u8>, Vec<(String, String)>)| {
    let (piece, text, bytes, fields) = input;
    fuzzing::form("multipart/form-data; boundary=b", &bytes, usize::from(piece));
    fuzzing::form(&text, &bytes, usize::from(piece));
    fuzzing::form_policy(&text, &fields);
    fuzzing::token(&text);
    fuzzing::key(&text);
    fuzzing::range(&text);
});
