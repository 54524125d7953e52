//! The table as text for nft(8), and what its sets hold.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Own, Place, Settings};
use crate::capture::{EndpointAddr, WhenDown};

/// A network and a port.
type Element<A> = (A, u8, u16);

/// Destinations as the sets hold them: networks in canonical form, none inside another of the same port, which the
/// kernel's interval sets would not take.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Elements {
    v4: BTreeSet<Element<Ipv4Addr>>,
    v6: BTreeSet<Element<Ipv6Addr>>,
}

impl Elements {
    pub(super) fn of(endpoints: &[EndpointAddr]) -> Self {
        let mut all = Self::default();
        for &EndpointAddr { ip, prefix, port, when_down } in endpoints {
            if when_down == WhenDown::Open {
                continue;
            }
            match ip.to_canonical() {
                IpAddr::V4(v4) => {
                    let prefix = if ip.is_ipv6() { prefix.saturating_sub(96) } else { prefix };
                    all.v4.insert((network_v4(v4, prefix), prefix, port));
                }
                IpAddr::V6(v6) => {
                    all.v6.insert((network_v6(v6, prefix), prefix, port));
                }
            }
        }
        let Self { v4, v6 } = &all;
        Self { v4: outermost(v4, network_v4), v6: outermost(v6, network_v6) }
    }
}

fn network_v4(ip: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(ip.to_bits() & u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0))
}

fn network_v6(ip: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    Ipv6Addr::from_bits(ip.to_bits() & u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0))
}

/// Without those that lie inside another.
fn outermost<A: Copy + Ord>(all: &BTreeSet<Element<A>>, network: fn(A, u8) -> A) -> BTreeSet<Element<A>> {
    let lengths: BTreeSet<u8> = all.iter().map(|&(_, prefix, _)| prefix).collect();
    let inside_another = |&&(ip, prefix, port): &&Element<A>| {
        lengths.range(..prefix).any(|&shorter| all.contains(&(network(ip, shorter), shorter, port)))
    };
    all.iter().filter(|element| !inside_another(element)).copied().collect()
}

/// The daemon's table.
#[derive(Debug)]
pub(super) struct Table {
    name: String,
}

impl Table {
    pub(super) fn new(instance: &str) -> Self {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        Self { name: format!("interceptor_{}", instance.chars().map(letter).collect::<String>()) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Something small that only a kernel and an nft(8) take which know the expression; for `nft --check`.
    pub(super) fn probe(&self, place: &Place) -> String {
        let (name, place) = (&self.name, place.expression());
        format!(
            "table inet {name}_probe {{\n chain output {{\n  type filter hook output priority 0\n  {place}\n }}\n}}\n"
        )
    }

    /// The whole table, in the place of one of that name.
    pub(super) fn replace(&self, settings: &Settings, own: &Own, exempt: &[Place], elements: &Elements) -> String {
        let name = &self.name;
        let mark = settings.mark;
        let own = match own {
            Own::CgroupAndMark(place) => format!("meta mark {mark:#x} {} accept", place.expression()),
            Own::Mark { .. } => format!("meta mark {mark:#x} accept"),
        };
        let exempt: String = exempt.iter().map(|place| format!("  {} accept\n", place.expression())).collect();
        let mut text = self.delete();
        // What the kernel itself sends for the daemon's closed connections has no socket any more, hence no cgroup:
        // acknowledgements in TIME_WAIT, which keep the mark, and resets. Neither opens anything.
        let _ = write!(
            text,
            "table inet {name} {{
 set endpoints_v4 {{
  type ipv4_addr . inet_service
  flags interval
 }}
 set endpoints_v6 {{
  type ipv6_addr . inet_service
  flags interval
 }}
 counter dropped {{
 }}
 chain refuse {{
  counter name \"dropped\"
  meta l4proto tcp reject with tcp reset
  reject with icmpx type port-unreachable
 }}
 chain enrolled {{
  meta l4proto {{ tcp, udp }} ip daddr . th dport @endpoints_v4 goto refuse
  meta l4proto {{ tcp, udp }} ip6 daddr . th dport @endpoints_v6 goto refuse
 }}
 chain output {{
  type filter hook output priority filter - 10; policy accept;
  {own}
  meta mark {mark:#x} tcp flags & (syn | rst) == 0x0 accept
  tcp flags & (syn | rst) == rst accept
{exempt}  goto enrolled
 }}
"
        );
        if settings.forward {
            text.push_str(
                " chain forward {
  type filter hook forward priority filter - 10; policy accept;
  goto enrolled
 }
",
            );
        }
        text.push_str("}\n");
        self.write(&mut text, "add", elements, &Elements::default());
        text
    }

    /// From one set of destinations to another.
    pub(super) fn change(&self, from: &Elements, to: &Elements) -> String {
        let mut text = String::new();
        self.write(&mut text, "delete", from, to);
        self.write(&mut text, "add", to, from);
        text
    }

    /// Without an error when there is none.
    pub(super) fn delete(&self) -> String {
        format!("table inet {0}\ndelete table inet {0}\n", self.name)
    }

    /// `add` or `delete` for those of `elements` that `except` lacks.
    fn write(&self, text: &mut String, verb: &str, elements: &Elements, except: &Elements) {
        let v4: Vec<String> = elements.v4.difference(&except.v4).map(element).collect();
        let v6: Vec<String> = elements.v6.difference(&except.v6).map(element).collect();
        for (set, list) in [("endpoints_v4", v4), ("endpoints_v6", v6)] {
            if !list.is_empty() {
                let _ = writeln!(text, "{verb} element inet {} {set} {{ {} }}", self.name, list.join(", "));
            }
        }
    }
}

fn element<A: std::fmt::Display>((network, prefix, port): &Element<A>) -> String {
    format!("{network}/{prefix} . {port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(list: &[(&str, u8, u16)]) -> Elements {
        let endpoint = |&(ip, prefix, port): &(&str, u8, u16)| EndpointAddr {
            prefix,
            ..EndpointAddr::single(ip.parse::<IpAddr>().unwrap(), port)
        };
        Elements::of(&list.iter().map(endpoint).collect::<Vec<_>>())
    }

    fn text_of(elements: &Elements) -> String {
        Table::new("x").change(&Elements::default(), elements)
    }

    #[test]
    fn networks_inside_others_of_the_same_port_are_left_out() {
        let text = text_of(&elements(&[
            ("203.0.113.77", 24, 443),
            ("203.0.113.10", 32, 443),
            ("203.0.113.10", 32, 8443),
            ("2001:db8:1::1", 128, 443),
            ("2001:db8::", 32, 443),
        ]));
        assert_eq!(
            text,
            "add element inet interceptor_x endpoints_v4 { 203.0.113.0/24 . 443, 203.0.113.10/32 . 8443 }\n\
             add element inet interceptor_x endpoints_v6 { 2001:db8::/32 . 443 }\n"
        );
    }

    #[test]
    fn a_v4_mapped_destination_is_an_ipv4_one_and_prefix_zero_is_everything() {
        let mapped = EndpointAddr { prefix: 120, ip: "::ffff:203.0.113.10".parse().unwrap(), ..single() };
        assert!(text_of(&Elements::of(&[mapped])).contains("{ 203.0.113.0/24 . 443 }"));
        let all = elements(&[("203.0.113.10", 0, 443), ("192.0.2.1", 32, 443), ("2001:db8::1", 0, 443)]);
        assert_eq!(all.v4.into_iter().collect::<Vec<_>>(), [(Ipv4Addr::UNSPECIFIED, 0, 443)]);
        assert_eq!(all.v6.into_iter().collect::<Vec<_>>(), [(Ipv6Addr::UNSPECIFIED, 0, 443)]);
    }

    fn single() -> EndpointAddr {
        EndpointAddr::single("203.0.113.10".parse().unwrap(), 443)
    }

    #[test]
    fn a_change_deletes_and_adds_only_what_differs() {
        let from = elements(&[("203.0.113.1", 32, 443), ("203.0.113.2", 32, 443)]);
        let to = elements(&[("203.0.113.2", 32, 443), ("203.0.113.3", 32, 443)]);
        assert_eq!(
            Table::new("x").change(&from, &to),
            "delete element inet interceptor_x endpoints_v4 { 203.0.113.1/32 . 443 }\n\
             add element inet interceptor_x endpoints_v4 { 203.0.113.3/32 . 443 }\n"
        );
    }

    #[test]
    fn a_table_is_named_after_its_instance_in_letters_that_nft_takes() {
        assert_eq!(Table::new("team-a.1 {}").name(), "interceptor_team_a_1___");
    }

    #[test]
    fn forwarded_packets_are_refused_only_when_asked_for() {
        let text = |forward| {
            let settings = Settings { instance: "x".into(), mark: 0x1c7, forward, exempt: Vec::new() };
            let own = Own::Mark { because: String::new() };
            Table::new("x").replace(&settings, &own, &[], &Elements::default())
        };
        assert!(text(true).contains("hook forward") && !text(false).contains("hook forward"));
        assert!(text(false).contains("  meta mark 0x1c7 accept\n"), "{}", text(false));
    }

    #[test]
    fn destinations_that_are_open_when_the_daemon_is_down_are_left_out() {
        let open = EndpointAddr { when_down: WhenDown::Open, ..single() };
        assert_eq!(Elements::of(&[open]), Elements::default());
        assert_ne!(Elements::of(&[single()]), Elements::default());
    }
}
