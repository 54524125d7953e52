//! What the endpoint says: the last user message as it arrived, in pieces like a model's tokens.

use std::path::PathBuf;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// The pause between two pieces of a streamed answer, unless the request asks for another.
const PAUSE: Duration = Duration::from_millis(2);

/// How long an answer is held unless the request says otherwise: a client that waits in vain never makes the file.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a test wants its answer, given in request headers.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// `x-lab-delay-ms`: the pause between two pieces; before the answer, if it is not streamed.
    pub(crate) pause: Option<Duration>,
    /// `x-lab-tokens`: exactly this many pieces.
    pub(crate) pieces: Option<usize>,
    /// `x-lab-piece`: pieces of so many characters, not of words.
    pub(crate) piece: Option<usize>,
    /// `x-lab-tool`: not in words, but as the only argument (`text`) of a call of this tool.
    pub(crate) tool: Option<String>,
    /// `x-lab-hold`: after the first piece, wait until there is a file at this path.
    pub(crate) hold: Option<PathBuf>,
    /// `x-lab-patience-s`: but no longer than this.
    pub(crate) patience: Option<Duration>,
    /// `x-lab-trailer: NAME: VALUE`, once or more: fields that come behind the answer.
    pub(crate) trailers: HeaderMap,
}

impl Wishes {
    /// Reads the headers.
    ///
    /// # Errors
    ///
    /// The name of a header that cannot be read.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, &'static str> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let number = |name| text(name).map(|text| text.parse::<u64>().map_err(|_| name)).transpose();
        Ok(Self {
            pause: number("x-lab-delay-ms")?.map(Duration::from_millis),
            pieces: number("x-lab-tokens")?.map(|count| usize::try_from(count).unwrap_or(usize::MAX)),
            piece: number("x-lab-piece")?.map(|length| usize::try_from(length).unwrap_or(usize::MAX).max(1)),
            tool: text("x-lab-tool").map(str::to_owned),
            hold: text("x-lab-hold").map(PathBuf::from),
            patience: number("x-lab-patience-s")?.map(Duration::from_secs),
            trailers: trailers(headers).ok_or("x-lab-trailer")?,
        })
    }

    /// The pause between two pieces.
    pub(crate) fn between(&self) -> Duration {
        self.pause.unwrap_or(PAUSE)
    }

    /// How long the answer is held at most.
    pub(crate) fn patience(&self) -> Duration {
        self.patience.unwrap_or(PATIENCE)
    }
}

fn trailers(headers: &HeaderMap) -> Option<HeaderMap> {
    let mut trailers = HeaderMap::new();
    for wish in headers.get_all("x-lab-trailer") {
        let (name, value) = wish.to_str().ok()?.split_once(':')?;
        trailers.append(name.trim().parse::<HeaderName>().ok()?, value.trim().parse::<HeaderValue>().ok()?);
    }
    Some(trailers)
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// In order; together they are the text.
    pub(crate) pieces: Vec<String>,
    /// Whether it was cut at the requested length.
    pub(crate) cut: bool,
}

impl Answer {
    /// Echoes `message` in at most `limit` pieces; in exactly as many as wished, if there is a wish: cut, or said again.
    pub(crate) fn echo(message: &str, wishes: &Wishes, limit: Option<usize>) -> Self {
        let text = match &wishes.tool {
            None => format!("You said: {message}"),
            Some(_) => serde_json::json!({ "text": message }).to_string(),
        };
        let spoken = match wishes.piece {
            None => pieces(&text),
            Some(length) => {
                let characters: Vec<char> = text.chars().collect();
                characters.chunks(length).map(|piece| piece.iter().collect()).collect()
            }
        };
        let available = spoken.len();
        let length = wishes.pieces.unwrap_or(available).min(limit.unwrap_or(usize::MAX));
        Self { pieces: spoken.into_iter().cycle().take(length).collect(), cut: length < available }
    }

    /// The whole of it.
    pub(crate) fn text(&self) -> String {
        self.pieces.concat()
    }
}

/// Cuts a text into words, each with the white space before it; long words into runs of eight characters.
pub(crate) fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut length = 0;
    let mut in_word = false;
    for character in text.chars() {
        let space = character.is_whitespace();
        match pieces.last_mut() {
            Some(last) if !(space && in_word) && length < 8 => last.push(character),
            _ => {
                pieces.push(character.into());
                length = 0;
            }
        }
        in_word = !space;
        length += 1;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_up_the_text() {
        for text in
            ["", "card 4111 1111 1111 1111, ok?", "  leading\n\nlines ", "ünïcode wörds_and_long_identifiers 你好"]
        {
            assert_eq!(pieces(text).concat(), text);
        }
        assert_eq!(pieces("mail jane@corp.example"), ["mail", " jane@co", "rp.examp", "le"]);
    }

    #[test]
    fn reads_wishes_and_names_the_one_it_cannot_read() {
        let headers = |fields: &[(&'static str, &'static str)]| {
            fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
        };
        let wishes = Wishes::read(&headers(&[("x-lab-tokens", "3"), ("x-lab-trailer", "x-end: a:b")])).unwrap();
        assert_eq!((wishes.pieces, &wishes.trailers["x-end"]), (Some(3), &HeaderValue::from_static("a:b")));
        for bad in [("x-lab-tokens", "many"), ("x-lab-patience-s", "-1"), ("x-lab-trailer", "no colon")] {
            assert_eq!(Wishes::read(&headers(&[bad])).unwrap_err(), bad.0);
        }
    }

    #[test]
    fn has_as_many_pieces_as_wanted() {
        let forty = Wishes { pieces: Some(40), ..Wishes::default() };
        assert_eq!(Answer::echo("hello", &forty, None).pieces.len(), 40);
        assert_eq!(Answer::echo("hello", &Wishes::default(), None).text(), "You said: hello");
        let called = Wishes { piece: Some(4), tool: Some("send".into()), ..Wishes::default() };
        assert_eq!(Answer::echo("h", &called, None).pieces, ["{\"te", "xt\":", "\"h\"}"]);
        let cut = Answer::echo("hello", &Wishes::default(), Some(2));
        assert_eq!((cut.text().as_str(), cut.cut), ("You said:", true));
    }
}
