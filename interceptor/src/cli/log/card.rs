//! One record as a card for people.

use std::io::{self, Write};

use super::accesses::{Listed, outcome, who};
use super::table::{Style, clean, clean_lines, colour, decision_style};
use crate::audit::{Class, Encoding, Parent, Record, State};

/// Writes the record; nothing in it was ever sealed. The log may have a checkpoint that its key did not sign.
pub(crate) fn write(
    out: &mut impl Write,
    record: &Record,
    accesses: &[Listed],
    has_false_checkpoint: bool,
) -> io::Result<()> {
    let mut card = Card { out, colour: colour() };
    let title = format!("record {}", record.id);
    writeln!(card.out, "{}", Style::Bold.paint(&title, card.colour))?;
    card.line("time", Some(format!("{} on {}", record.time, clean(&record.host))))?;
    card.line("state", Some(state(record)))?;
    if record.log.damaged {
        let text = "not what was written: run `interceptor log verify`";
        card.line("damaged", Some(Style::Bad.paint(text, card.colour)))?;
    }
    if !record.log.removed.is_empty() {
        let classes = record.log.removed.iter().map(|class| class.name()).collect::<Vec<_>>().join(", ");
        card.line("removed", Some(format!("{classes}: by retention, or erased (`interceptor log retain --acts`)")))?;
    }
    card.caller(record)?;
    card.request(record)?;
    card.findings(record)?;
    card.decision(record)?;
    card.response(record)?;
    card.proof(record, has_false_checkpoint)?;
    for Listed { access, signed } in accesses {
        let (time, who, key) = (access.time, who(access), clean(&access.auditor));
        let mark = if *signed { String::new() } else { Style::Bad.paint(" (not signed)", card.colour) };
        let text = format!("{time} by {who} with key {key}, {}{mark}: {}", outcome(access), clean(&access.reason));
        card.line("unseal", Some(text))?;
    }
    card.masked(record)
}

struct Card<'a, W> {
    out: &'a mut W,
    colour: bool,
}

impl<W: Write> Card<'_, W> {
    fn line(&mut self, label: &str, value: Option<String>) -> io::Result<()> {
        let Some(value) = value else { return Ok(()) };
        writeln!(self.out, "  {} {value}", Style::Dim.paint(&format!("{label:<10}"), self.colour))
    }

    fn caller(&mut self, record: &Record) -> io::Result<()> {
        let caller = &record.caller;
        let user = caller.user.as_deref().map(clean);
        let uid = caller.uid.map(|uid| format!("uid {uid}"));
        let pid = caller.pid.map(|pid| format!("pid {pid}"));
        self.line("caller", join([user, uid, pid, caller.exe.as_deref().map(clean)]))?;
        let sha256 = caller.exe_sha256.as_deref().map(|hash| format!("SHA-256 {}", clean(hash)));
        let started = caller.started_at.map(|at| format!("started {at}"));
        self.line("program", join([sha256, started]))?;
        self.line("command", caller.cmdline.as_deref().map(clean))?;
        self.line("directory", caller.cwd.as_deref().map(clean))?;
        self.line("parents", parents(&caller.parents))?;
        let cgroup = caller.cgroup.as_deref().map(clean);
        let [unit, user_unit] = [&caller.unit, &caller.user_unit].map(|unit| unit.as_deref().map(clean));
        let container = caller.container.as_deref().map(|id| format!("container {}", clean(id)));
        let pod = caller.pod.as_deref().map(|pod| format!("pod {}", clean(pod)));
        self.line("cgroup", join([cgroup, unit, user_unit, container, pod]))?;
        let session = caller.session.as_deref().map(clean);
        self.line("session", join([session, caller.loginuid.map(|uid| format!("login uid {uid}"))]))?;
        let identity = caller.identity.as_ref().and_then(|i| i.subject.as_deref().map(clean));
        self.line("identity", identity)
    }

    fn request(&mut self, record: &Record) -> io::Result<()> {
        let endpoint = &record.endpoint;
        let address = endpoint.ip.map(|ip| match endpoint.port {
            Some(port) => std::net::SocketAddr::new(ip, port).to_string(),
            None => ip.to_string(),
        });
        self.line(
            "endpoint",
            join([endpoint.host.as_deref().map(clean), address, endpoint.provider.as_deref().map(clean)]),
        )?;
        let request = &record.request;
        let method = request.method.as_deref().map(clean);
        let path = request.path.as_deref().map(clean);
        let line = method.map(|method| format!("{method} {}", path.unwrap_or_default()));
        let bytes = request.bytes.map(|bytes| format!("{bytes} bytes"));
        let text = request.text_bytes.map(|bytes| format!("{bytes} of text"));
        self.line("request", join([line, bytes, text]))?;
        let model = request.model.as_deref().map(clean);
        let operation = request.operation.as_deref().map(clean);
        match model {
            Some(model) => self.line("model", join([Some(model), operation])),
            None => self.line("operation", operation),
        }
    }

    fn findings(&mut self, record: &Record) -> io::Result<()> {
        for finding in &record.findings {
            let (entity, rule) = (clean(&finding.entity), clean(&finding.rule));
            self.line("finding", Some(format!("{entity} ×{} by {rule}: {}", finding.count, finding.action)))?;
        }
        let coverage = &record.coverage;
        let scanned = coverage.scanned_bytes.map(|bytes| format!("{bytes} bytes scanned"));
        let opaque = coverage.opaque_bytes.map(|bytes| format!("{bytes} bytes opaque"));
        self.line("coverage", join([scanned, opaque]))?;
        for part in coverage.parts.iter().filter(|part| part.status != "scanned") {
            let reason = part.reason.as_deref().map(clean);
            let text = format!("{} {}", clean(&part.path), clean(&part.status));
            self.line("", join([Some(text), reason]))?;
        }
        Ok(())
    }

    fn decision(&mut self, record: &Record) -> io::Result<()> {
        let decision = &record.decision;
        let action = decision.action.as_deref();
        let painted = action.map(|a| decision_style(action).paint(&clean(a), self.colour));
        let rule = decision.rule.as_deref().map(|rule| format!("by {}", clean(rule)));
        self.line("decision", join([painted, rule, decision.reason.as_deref().map(clean)]))?;
        let Some(approval) = &decision.approval else { return Ok(()) };
        let by = approval.approver.as_deref().map(clean);
        let at = approval.at.map(|at| at.to_string());
        self.line("approval", join([by, at, approval.reason.as_deref().map(clean)]))
    }

    fn response(&mut self, record: &Record) -> io::Result<()> {
        let response = &record.response;
        let status = response.status.map(|status| status.to_string());
        let bytes = response.bytes.map(|bytes| format!("{bytes} bytes"));
        self.line("response", join([status, bytes, response.finish_reason.as_deref().map(clean)]))?;
        self.line("error", response.error.as_deref().map(clean))?;
        let restored = response.restored.iter().flatten().map(|(entity, count)| format!("{} {count}", clean(entity)));
        let restored = restored.collect::<Vec<_>>().join(", ");
        self.line("restored", (!restored.is_empty()).then_some(restored))?;
        self.line("not restored", response.not_restored.as_deref().map(clean))?;
        self.line("usage", response.usage.as_ref().map(|usage| clean(&usage.to_string())))?;
        let timing = &record.timing;
        let parts = [
            ("added", timing.overhead_us, "µs"),
            ("held", timing.hold_ms, "ms"),
            ("first byte", timing.first_byte_us, "µs"),
            ("total", timing.total_us, "µs"),
        ];
        self.line("timing", join(parts.map(|(name, value, unit)| value.map(|v| format!("{name} {v} {unit}")))))
    }

    fn proof(&mut self, record: &Record, has_false_checkpoint: bool) -> io::Result<()> {
        let sequence = record.log.sequence.map(|sequence| format!("frame {sequence}"));
        let leaf = record.log.leaf_hash.as_deref().map(|leaf| format!("leaf {leaf}"));
        let signed = match record.log.checkpoint {
            Some(size) => format!("signed in the tree of {size}"),
            None if has_false_checkpoint => {
                let text = "not signed: the checkpoint's signature does not fit, run `interceptor log verify`";
                Style::Bad.paint(text, self.colour)
            }
            None => "not yet signed".to_owned(),
        };
        self.line("log", join([sequence, leaf, Some(signed)]))
    }

    fn masked(&mut self, record: &Record) -> io::Result<()> {
        let Some(masked) = &record.request.masked else { return Ok(()) };
        if record.decision.action.as_deref() == Some("splice") && masked.head.is_empty() && masked.text.is_empty() {
            // Nobody read what a tunnel carried.
            return Ok(());
        }
        let left = if has_left(record) { "as it left" } else { "as it was to leave: nothing shows that it did" };
        let base64 = if masked.encoding == Encoding::Base64 { " (body in base64)" } else { "" };
        let title = format!("the request {left}{base64}");
        writeln!(self.out, "\n{}", Style::Bold.paint(&title, self.colour))?;
        let head = clean_lines(masked.head.trim_end());
        if !head.is_empty() {
            writeln!(self.out, "{}\n", Style::Dim.paint(&head, self.colour))?;
        }
        writeln!(self.out, "{}", clean_lines(&masked.text))
    }
}

fn join<const N: usize>(parts: [Option<String>; N]) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The nearest first, each by what it runs or by the name it gave itself.
fn parents(parents: &[Parent]) -> Option<String> {
    let names = parents.iter().map(|parent| {
        let name = parent.exe.as_deref().or(parent.comm.as_deref()).map(clean).unwrap_or_default();
        format!("{name} ({})", parent.pid)
    });
    (!parents.is_empty()).then(|| names.collect::<Vec<_>>().join(" < "))
}

/// Whether something came back. A recorded request that could not be delivered ends with an error, or with nothing.
fn has_left(record: &Record) -> bool {
    let response = &record.response;
    match record.state {
        State::Open => true,
        State::Complete => response.error.is_none(),
        State::Aborted => response.status.is_some(),
    }
}

fn state(record: &Record) -> String {
    let lost_prompt = record.log.removed.contains(&Class::Prompts);
    match (record.state, has_left(record)) {
        (State::Open, _) => "open: the response is still awaited or coming in",
        (State::Complete, _) if record.request.masked.is_none() && !record.log.damaged && !lost_prompt => {
            "complete: refused, the request never left"
        }
        (State::Complete, true) => "complete",
        (State::Complete, false) => "complete: the request was not delivered",
        (State::Aborted, true) => "aborted: the response ended before its end",
        (State::Aborted, false) => "aborted: ended before a response came",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::MaskedRequest;
    use crate::flow::ExchangeId;

    fn card(record: &Record) -> String {
        let mut out = Vec::new();
        write(&mut out, record, &[], false).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_what_left_is_called_so_and_the_rest_says_why() {
        let mut record = Record::new(ExchangeId::new());
        record.decision.reason = Some("no rule allows it".into());
        record.request.masked = Some(MaskedRequest::new(b"POST / HTTP/1.1", b"{}".to_vec()));
        record.state = State::Complete;
        record.response.status = Some(200);
        let text = card(&record);
        assert!(text.contains("as it left") && text.contains("no rule allows it"), "{text}");

        record.response.error = Some("connection refused".into());
        let text = card(&record);
        assert!(!text.contains("as it left") && text.contains("connection refused"), "{text}");
        assert!(text.contains("was not delivered"), "{text}");

        (record.state, record.response.status) = (State::Aborted, None);
        let text = card(&record);
        assert!(!text.contains("as it left") && text.contains("connection refused"), "{text}");

        let mut spliced = Record::new(ExchangeId::new());
        (spliced.decision.action, spliced.state) = (Some("splice".into()), State::Complete);
        spliced.request.masked = Some(MaskedRequest::new(b"", Vec::new()));
        assert!(!card(&spliced).contains("the request"), "{}", card(&spliced));

        (record.state, record.request.masked, record.response.error) = (State::Complete, None, None);
        assert!(card(&record).contains("never left"));
    }
}
