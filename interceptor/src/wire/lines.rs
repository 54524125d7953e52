//! JSON Lines (<https://jsonlines.org>, also NDJSON): a JSON document on each line. Lines end in LF or CRLF; empty ones
//! are passed over.

use memchr::memchr_iter;

use super::document::Document;
use super::locate::utf8;
use super::walk::Walk;
use super::{Error, Operation};

/// Locates every text in a body of JSON Lines.
pub(super) fn locate(operation: Operation, body: &[u8]) -> Result<Document<'_>, Error> {
    let mut walk = Walk::new(operation);
    walk.path.push_word("body");
    self::walk(&mut walk, utf8(body, 0)?, 0)?;
    Ok(walk.finish())
}

/// Walks the lines of a piece of the body that begins at `base`, and takes the last segment of the path with it.
pub(super) fn walk<'a>(walk: &mut Walk<'a>, piece: &'a str, base: usize) -> Result<(), Error> {
    let ends = memchr_iter(b'\n', piece.as_bytes()).chain([piece.len()]);
    let mut start = 0;
    walk.path.push_word("lines");
    for (index, end) in ends.enumerate() {
        // A CR before the LF, or any other white space, is no matter to JSON.
        let line = &piece[start..end];
        if !line.trim_matches([' ', '\t', '\r']).is_empty() {
            walk.path.push_index(index);
            walk.json(line, base + start)?;
        }
        start = end + 1;
    }
    walk.path.pop();
    walk.path.pop();
    Ok(())
}

/// Fuzz entry: a body of lines has the texts that its lines have, each as a document of its own.
#[doc(hidden)]
pub fn fuzz_lines(data: &[u8]) {
    let whole = locate(Operation::Files, data);
    let lines: Vec<_> = data.split(|&b| b == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect();
    let texts = |document: &Document<'_>| document.fields.iter().map(|f| f.text.to_string()).collect::<Vec<_>>();
    let mut apart = Vec::new();
    for line in lines {
        let mut walk = Walk::new(Operation::Files);
        match utf8(line, 0).and_then(|line| walk.json(line, 0)) {
            Ok(()) => apart.extend(texts(&walk.finish())),
            Err(_) => return assert!(whole.is_err()),
        }
    }
    if let Ok(whole) = whole {
        assert_eq!(texts(&whole), apart);
        whole.fields.iter().for_each(|field| super::locate::check_map(data, field));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(body: &str) -> Vec<(String, String)> {
        let document = locate(Operation::Files, body.as_bytes()).unwrap();
        document.fields.iter().map(|field| (field.path.clone(), field.text.to_string())).collect()
    }

    fn pair(path: &str, text: &str) -> (String, String) {
        (path.to_owned(), text.to_owned())
    }

    #[test]
    fn every_line_is_a_document() {
        let body = "{\"model\":\"a\"}\r\n\n  \r\n[\"b\"]\n\"c\\u0034\"\n7\n{\"body\":{\"model\":\"d\"}}";
        assert_eq!(
            found(body),
            [
                pair("body.lines[0].model", "a"),
                pair("body.lines[3][0]", "b"),
                pair("body.lines[4]", "c4"),
                pair("body.lines[6].body.model", "d"),
            ]
        );
        let document = locate(Operation::Files, body.as_bytes()).unwrap();
        let c4 = &document.fields[2];
        assert_eq!(&body[c4.map.to_raw(&(1..2))], "\\u0034");
        assert_eq!(document.parts.len(), 1, "one entry in the record, however many lines");
        assert_eq!((document.model, document.messages), (None, 0));
        assert!(found("").is_empty() && found("\n\r\n").is_empty());
    }

    #[test]
    fn pictures_in_a_batch_are_told_from_text() {
        let picture = format!("iVBORw0KGgoA{}", "QUJD".repeat(400));
        let message =
            format!(r#"{{"messages":[{{"content":[{{"image_url":{{"url":"data:image/png;base64,{picture}"}}}}]}}]}}"#);
        let body = format!("{message}\n{{\"body\":{message}}}\n");
        let document = locate(Operation::Files, body.as_bytes()).unwrap();
        assert!(document.fields.is_empty());
        assert_eq!(document.parts.len(), 2);
    }

    #[test]
    fn a_fault_is_named_where_it_is() {
        let fault = |body: &str| locate(Operation::Files, body.as_bytes()).unwrap_err();
        assert_eq!(fault("{}\n{\"a\"}"), Error::Malformed { offset: 7, expected: "':'" });
        assert_eq!(fault("{}{}"), Error::Malformed { offset: 2, expected: "the end of the body" });
        assert_eq!(fault("{\"a\":\n1}"), Error::Malformed { offset: 5, expected: "a value" });
        let not_utf8 = locate(Operation::Files, b"{}\n\"\xff\"").unwrap_err();
        assert_eq!(not_utf8, Error::NotUtf8 { offset: 4 });
    }

    proptest! {
        #[test]
        fn lines_are_read_as_if_each_came_alone(lines in prop::collection::vec(r#"(\{"(a|model|body)":)?["\[\]{}:,0-9\\un]{0,12}\}?"#, 0..6)) {
            fuzz_lines(lines.join("\n").as_bytes());
            fuzz_lines(lines.join("\r\n").as_bytes());
        }

        #[test]
        fn no_bytes_upset_the_lines(data in prop::collection::vec(any::<u8>(), 0..80)) {
            fuzz_lines(&data);
        }
    }
}
