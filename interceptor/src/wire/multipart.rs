//! `multipart/form-data` (RFC 7578; RFC 2046, 5.1), taken apart where it stands:
//!
//! ```text
//! --boundary CRLF
//! Content-Disposition: form-data; name="file"; filename="a.txt" CRLF
//! Content-Type: text/plain CRLF
//! CRLF
//! content CRLF
//! --boundary-- [CRLF]
//! ```
//!
//! Nothing may stand before the first boundary or behind the last one, and the boundary nowhere but where a part ends:
//! whatever one reader takes for content and another for a part would leave without having been read.

use std::ops::Range;

use memchr::{memchr, memmem};

use super::Error;
use super::format::{self, Parameter, is_token, parameters};

/// Parts of one form.
pub(super) const MAX_PARTS: usize = 1_000;
/// Bytes of one part's header.
pub(super) const MAX_HEAD: usize = 8 << 10;

/// One part of a form. All places are of the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FormPart {
    /// The values of header lines whose name says nothing, and whole lines of any other name.
    pub(super) header: Vec<Range<usize>>,
    pub(super) name: Range<usize>,
    pub(super) filename: Option<Range<usize>>,
    pub(super) content_type: Option<Range<usize>>,
    pub(super) content: Range<usize>,
}

/// The parts of a form, in order.
pub(super) fn parts(boundary: &str, body: &[u8]) -> Result<Vec<FormPart>, Error> {
    let delimiter = format!("--{boundary}");
    let finder = memmem::Finder::new(&delimiter);
    if !body.starts_with(delimiter.as_bytes()) {
        return Err(expected(0, "the boundary that the Content-Type names"));
    }
    let mut parts = Vec::new();
    let mut at = delimiter.len();
    loop {
        match &body[at..] {
            b"--" | b"--\r\n" => return Ok(parts),
            [b'\r', b'\n', ..] => at += 2,
            _ => return Err(expected(at, "CRLF behind the boundary, or \"--\" and the end of the body")),
        }
        if parts.len() == MAX_PARTS {
            return Err(Error::TooManyParts);
        }
        let end = finder.find(&body[at..]).map(|found| at + found);
        let end = end.ok_or_else(|| expected(body.len(), "the closing boundary"))?;
        let part = body[at..end].strip_suffix(b"\r\n").ok_or_else(|| expected(end, "CRLF before the boundary"))?;
        parts.push(self::part(part, at)?);
        at = end + delimiter.len();
    }
}

/// A part that begins at `base`, without the line break that ends it.
fn part(bytes: &[u8], base: usize) -> Result<FormPart, Error> {
    let mut part = FormPart::default();
    let (mut start, mut disposed) = (0, false);
    loop {
        let lf = memchr(b'\n', &bytes[start..]).map(|found| start + found);
        if lf.unwrap_or(bytes.len()) > MAX_HEAD {
            return Err(Error::PartHeadTooLarge { offset: base });
        }
        let lf = lf.ok_or_else(|| expected(base + bytes.len(), "an empty line behind the part's header"))?;
        let line = bytes[start..lf].strip_suffix(b"\r").ok_or_else(|| expected(base + lf, "CRLF"))?;
        let place = base + start..base + start + line.len();
        start = lf + 1;
        if line.is_empty() {
            break;
        }
        disposed |= part.header_line(line, &place)?;
    }
    if !disposed {
        return Err(expected(base, "a Content-Disposition"));
    }
    part.content = base + start..base + bytes.len();
    Ok(part)
}

impl FormPart {
    /// Reads one header line; says whether it was the Content-Disposition.
    fn header_line(&mut self, line: &[u8], place: &Range<usize>) -> Result<bool, Error> {
        let at = |offset: usize| place.start + offset;
        let text = std::str::from_utf8(line).map_err(|error| Error::NotUtf8 { offset: at(error.valid_up_to()) })?;
        if let Some(control) = text.find(|c: char| c.is_control() && c != '\t') {
            return Err(expected(at(control), "no control character in a part's header"));
        }
        let colon = line.iter().position(|&b| !is_token(b)).unwrap_or(line.len());
        if colon == 0 || line.get(colon) != Some(&b':') {
            return Err(expected(at(colon), "a header name and a colon"));
        }
        let space = |text: &str| text.len() - text.trim_start_matches([' ', '\t']).len();
        let first = colon + 1 + space(&text[colon + 1..]);
        let value = first..text.trim_end_matches([' ', '\t']).len().max(first);
        let (name, text, place) = (&text[..colon], &text[value.clone()], at(value.start)..at(value.end));
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("content-disposition") {
            if self.name.end > 0 {
                return Err(expected(at(0), "one Content-Disposition"));
            }
            self.disposition(text, place.start)?;
        } else if is("content-type") {
            if self.content_type.replace(place.clone()).is_some() {
                return Err(expected(at(0), "one Content-Type"));
            }
        } else if is("content-transfer-encoding") {
            // RFC 7578, 4.7: not to be used. These say that there is none.
            if !["binary", "8bit", "7bit"].iter().any(|none| text.eq_ignore_ascii_case(none)) {
                return Err(expected(place.start, "content without a transfer encoding"));
            }
        } else {
            self.header.push(at(0)..place.end);
            return Ok(false);
        }
        self.header.push(place);
        Ok(is("content-disposition"))
    }

    /// RFC 7578, 4.2: `form-data; name="..."`, and a file's name.
    fn disposition(&mut self, value: &str, base: usize) -> Result<(), Error> {
        let (kind, rest) = format::split(value);
        if !kind.eq_ignore_ascii_case("form-data") {
            return Err(expected(base, "form-data"));
        }
        let base = base + value.len() - rest.len();
        let read = parameters(rest).map_err(|offset| expected(base + offset, "a parameter like name=\"...\""))?;
        let (mut name, mut filename) = (None, None);
        for Parameter { name: key, value } in read {
            let place = base + value.start..base + value.end;
            let seen = match &rest[key.clone()].to_ascii_lowercase()[..] {
                "name" => name.replace(place),
                "filename" => filename.replace(place),
                // The forms of RFC 8187 must not be used, and who reads both may prefer either.
                "name*" | "filename*" => return Err(expected(base + key.start, "a name without an asterisk")),
                _ => None,
            };
            if seen.is_some() {
                return Err(expected(base + key.start, "a parameter that is given once"));
            }
        }
        self.name = name.ok_or_else(|| expected(base, "the name of the part"))?;
        self.filename = filename;
        Ok(())
    }
}

fn expected(offset: usize, expected: &'static str) -> Error {
    Error::Form { offset, expected }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts<'b>(body: &'b str, part: &FormPart) -> (&'b str, Option<&'b str>, Option<&'b str>, &'b str) {
        let of = |place: &Range<usize>| &body[place.clone()];
        (of(&part.name), part.filename.as_ref().map(of), part.content_type.as_ref().map(of), of(&part.content))
    }

    fn fault(body: &str) -> Error {
        parts("b", body.as_bytes()).unwrap_err()
    }

    /// A form of one part with this header (without the last line break) and content.
    fn one(header: &str, content: &str) -> String {
        format!("--b\r\n{header}\r\n\r\n{content}\r\n--b--\r\n")
    }

    #[test]
    fn a_form_is_taken_apart() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\n\
            content-disposition:Form-Data ; filename=\"a; b=\u{e9}.txt\";name=file\r\nX-A: 1\r\n\
            Content-Type: \ttext/plain \r\n\r\n\r\nline\r\n\r\n--b--";
        let parts = parts("b", body.as_bytes()).unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!(texts(body, &parts[0]), ("purpose", None, None, "batch"));
        let file = ("file", Some("a; b=\u{e9}.txt"), Some("text/plain"), "\r\nline\r\n");
        assert_eq!(texts(body, &parts[1]), file);
        let header: Vec<_> = parts[1].header.iter().map(|place| &body[place.clone()]).collect();
        assert_eq!(header, ["Form-Data ; filename=\"a; b=\u{e9}.txt\";name=file", "X-A: 1", "text/plain"]);
    }

    #[test]
    fn a_form_may_be_empty_and_so_may_a_part() {
        assert_eq!(parts("b", b"--b--\r\n"), Ok(vec![]));
        let body = one("Content-Disposition: form-data; name=\"\"; filename=\"\"", "");
        let parts = parts("b", body.as_bytes()).unwrap();
        assert_eq!(texts(&body, &parts[0]), ("", Some(""), None, ""));
    }

    #[test]
    fn nothing_stands_outside_of_the_parts() {
        let good = one("Content-Disposition: form-data; name=a", "x");
        assert!(parts("b", good.as_bytes()).is_ok());
        for bad in [
            format!("preamble\r\n{good}"),
            format!("\r\n{good}"),
            format!("{good}epilogue"),
            format!("{good}\r\n"),
            good.trim_end().trim_end_matches("--").to_owned(),
            good.replace("--b--", "--b-- "),
            good.replacen("--b\r\n", "--b \r\n", 1),
            good.replacen("--b\r\n", "--b\n", 1),
            good.replacen("--b\r\n", "--bc\r\n", 1),
            good[..good.len() - 9].to_owned(),
            String::new(),
            "--".to_owned(),
            "--b".to_owned(),
            "--b\r\n".to_owned(),
        ] {
            assert!(matches!(parts("b", bad.as_bytes()), Err(Error::Form { .. })), "{bad:?}");
        }
    }

    #[test]
    fn the_boundary_stands_nowhere_else() {
        let header = "Content-Disposition: form-data; name=a";
        for content in ["a--b", "a\n--b\r\n", "a\r--b--\r\n", "a\r\n--bc", "\r\n--b\n", "--b"] {
            assert!(matches!(fault(&one(header, content)), Error::Form { .. }), "{content:?}");
        }
        assert!(matches!(fault(&one(&format!("{header}\r\nX: --b"), "")), Error::Form { .. }));
        assert!(parts("b", one(header, "\r\n-b--\n- -b").as_bytes()).is_ok());
    }

    #[test]
    fn a_header_that_readers_take_differently_is_refused() {
        for header in [
            "Content-Disposition: form-data",
            "Content-Disposition: form-data; filename=a",
            "Content-Disposition: attachment; name=a",
            "Content-Disposition: form-data; name=a; name=b",
            "Content-Disposition: form-data; name=a; NAME=b",
            "Content-Disposition: form-data; name=a; filename*=utf-8''b",
            "Content-Disposition: form-data; name=\"a\\\"; filename=\"b\"",
            "Content-Disposition: form-data; name=\"a",
            "Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=a",
            "Content-Disposition: form-data; name=a\r\nContent-Type: a/b\r\nContent-Type: a/b",
            "Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64",
            "Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: quoted-printable",
            "Content-Disposition: form-data;\r\n name=a",
            "Content-Disposition: form-data; name=a\nX: b",
            "Content-Disposition : form-data; name=a",
            "Content-Disposition: form-data; name=\"a\0\"",
            "Content-Disposition: form-data; name=\"a\rb\"",
            "Content-Type: text/plain",
            "X",
            ": x",
        ] {
            assert!(matches!(fault(&one(header, "x")), Error::Form { .. }), "{header:?}");
        }
        assert_eq!(parts("b", b"--b\r\nContent-Type: \xff\r\n\r\n\r\n--b--"), Err(Error::NotUtf8 { offset: 19 }));
        let no_content = "--b\r\nContent-Disposition: form-data; name=a\r\n--b--";
        assert!(matches!(fault(no_content), Error::Form { expected: "an empty line behind the part's header", .. }));
    }

    #[test]
    fn there_are_limits() {
        let part = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n";
        let many = |count| format!("{}--b--", part.repeat(count));
        assert_eq!(parts("b", many(1_000).as_bytes()).unwrap().len(), 1_000);
        assert_eq!(fault(&many(1_001)), Error::TooManyParts);
        let long = format!("Content-Disposition: form-data; name=a\r\nX: {}", "x".repeat(8 << 10));
        assert_eq!(fault(&one(&long, "")), Error::PartHeadTooLarge { offset: 5 });
        let endless = format!("--b\r\n{}--b--", "x".repeat(9 << 10));
        assert!(matches!(fault(&endless), Error::Form { .. }));
    }

    proptest! {
        #[test]
        fn parts_are_found_where_they_were_put(
            given in prop::collection::vec(("[a-z\\[\\]é ]{0,8}", prop::option::of("[a-z.;= é]{0,8}"), "[a-z\r\n -]{0,20}"), 0..5),
        ) {
            let mut body = String::new();
            for (name, filename, content) in &given {
                let filename = filename.as_ref().map(|name| format!("; filename=\"{name}\"")).unwrap_or_default();
                body += &format!("--B0\r\nContent-Disposition: form-data; name=\"{name}\"{filename}\r\n\r\n{content}\r\n");
            }
            body += "--B0--\r\n";
            let found = parts("B0", body.as_bytes()).unwrap();
            prop_assert_eq!(found.len(), given.len());
            for (part, (name, filename, content)) in found.iter().zip(&given) {
                prop_assert_eq!(texts(&body, part), (&name[..], filename.as_deref(), None, &content[..]));
            }
            for cut in 0..body.len() - 2 {
                prop_assert!(parts("B0", &body.as_bytes()[..cut]).is_err(), "cut at {}", cut);
            }
        }
    }
}
