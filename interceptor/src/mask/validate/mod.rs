//! Validators: what a value must satisfy beyond its shape. Checksums, number plans, structure.

mod america;
mod asia;
mod britain;
mod checksum;
mod date;
mod device;
mod europe;
mod finance;
mod germany;
mod net;
mod password;
mod random;
mod secret;
mod south;

use serde::Deserialize;

pub(in crate::mask) use self::checksum::luhn_written;

/// What a validator says of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not a value of this kind.
    Reject,
    /// May be one.
    Plausible,
    /// Carries a checksum or structure that chance seldom produces.
    Confirmed,
}

/// The validators that a rule can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Validator {
    // payment
    Card,
    CardRare,
    TrackData,
    Iban,
    Aba,
    AbaAny,
    Base58check,
    Bech32,
    Ethereum,
    // network and devices
    Email,
    Ipv4,
    Ipv4Local,
    Ipv6,
    Ipv6Local,
    Mac,
    Imei,
    Vin,
    Date,
    // national
    UsSsn,
    UsItin,
    UsNpi,
    UsMbi,
    UsDea,
    UkNhs,
    UkNino,
    UkUtr,
    CaSin,
    AuAbn,
    AuAcn,
    AuTfn,
    AuMedicare,
    DeTaxId,
    DeTaxNumber,
    DeVatId,
    DeSerial,
    DeSocialSecurity,
    DeHealthInsurance,
    DeLanr,
    FrNir,
    EsNif,
    ItFiscalCode,
    ItVat,
    PlPesel,
    NlBsn,
    SePersonnummer,
    SeOrganisationsnummer,
    FiHetu,
    BrCpf,
    BrCnpj,
    InAadhaar,
    InPan,
    InGstin,
    SgNric,
    SgUen,
    KrRrn,
    KrFrn,
    KrBrn,
    TrTckn,
    ThTnin,
    PhTin,
    ZaId,
    NgNin,
    CnResidentId,
    // secrets
    Github,
    Jwt,
    BasicAuth,
    UriPassword,
    Entropy,
    Random,
    Drawn,
    NoPlaceholder,
    PasswordQuoted,
    PasswordSetting,
    PasswordBare,
    Credentials,
    GrafanaKey,
    GrafanaService,
    Pypi,
    Slack,
}

impl Validator {
    /// Checks `value`, separators included.
    pub(super) fn check(self, value: &[u8]) -> Verdict {
        use Validator as V;
        match self {
            V::Card => confirm(finance::card(value)),
            V::CardRare => confirm(finance::card_rare(value)),
            V::TrackData => confirm(finance::track(value)),
            V::Iban => confirm(finance::iban(value)),
            V::Aba => confirm(finance::aba(value)),
            V::AbaAny => confirm(finance::aba_any(value)),
            V::Base58check => confirm(finance::base58check(value)),
            V::Bech32 => confirm(finance::bech32(value)),
            V::Ethereum => plausible(random::not_a_placeholder(value)),
            V::Email => plausible(net::email(value)),
            V::Ipv4 => plausible(net::ipv4(value)),
            V::Ipv6 => plausible(net::ipv6(value)),
            V::Ipv4Local => plausible(net::ipv4_local(value)),
            V::Ipv6Local => plausible(net::ipv6_local(value)),
            V::Mac => plausible(net::mac(value)),
            V::Date => plausible(date::date(value)),
            V::Imei => confirm(device::imei(value)),
            V::Vin => confirm(device::vin(value)),
            V::UsSsn => plausible(america::us_ssn(value)),
            V::UsItin => plausible(america::us_itin(value)),
            V::UsNpi => confirm(america::us_npi(value)),
            V::UsMbi => plausible(america::us_mbi(value)),
            V::UsDea => confirm(america::us_dea(value)),
            V::UkNhs => confirm(britain::uk_nhs(value)),
            V::UkNino => plausible(britain::uk_nino(value)),
            V::UkUtr => confirm(britain::uk_utr(value)),
            V::CaSin => confirm(america::ca_sin(value)),
            V::AuAbn => confirm(south::au_abn(value)),
            V::AuAcn => confirm(south::au_acn(value)),
            V::AuTfn => confirm(south::au_tfn(value)),
            V::AuMedicare => confirm(south::au_medicare(value)),
            V::DeTaxId => confirm(germany::de_tax_id(value)),
            V::DeTaxNumber => plausible(germany::de_tax_number(value)),
            V::DeSerial => confirm(germany::de_serial(value)),
            V::DeSocialSecurity => confirm(germany::de_social_security(value)),
            V::DeHealthInsurance => confirm(germany::de_health_insurance(value)),
            V::DeLanr => confirm(germany::de_lanr(value)),
            V::DeVatId => confirm(germany::de_vat_id(value)),
            V::FrNir => confirm(europe::fr_nir(value)),
            V::EsNif => confirm(europe::es_nif(value)),
            V::ItFiscalCode => europe::it_fiscal_code(value),
            V::ItVat => confirm(europe::it_vat(value)),
            V::PlPesel => confirm(europe::pl_pesel(value)),
            V::NlBsn => confirm(europe::nl_bsn(value)),
            V::SePersonnummer => confirm(europe::se_personnummer(value)),
            V::SeOrganisationsnummer => confirm(europe::se_organisationsnummer(value)),
            V::FiHetu => confirm(europe::fi_hetu(value)),
            V::BrCpf => confirm(america::br_cpf(value)),
            V::BrCnpj => confirm(america::br_cnpj(value)),
            V::InAadhaar => confirm(asia::in_aadhaar(value)),
            V::InPan => plausible(asia::in_pan(value)),
            V::InGstin => asia::in_gstin(value),
            V::SgNric => asia::sg_nric(value),
            V::SgUen => confirm(asia::sg_uen(value)),
            V::KrFrn => asia::kr_frn(value),
            V::KrRrn => asia::kr_rrn(value),
            V::KrBrn => confirm(asia::kr_brn(value)),
            V::TrTckn => confirm(europe::tr_tckn(value)),
            V::ThTnin => confirm(asia::th_tnin(value)),
            V::PhTin => confirm(asia::ph_tin(value)),
            V::NgNin => confirm(south::ng_nin(value)),
            V::ZaId => confirm(south::za_id(value)),
            V::CnResidentId => confirm(asia::cn_resident_id(value)),
            V::Github => secret::github(value),
            V::Jwt => secret::jwt(value),
            V::BasicAuth => confirm(secret::basic_auth(value)),
            V::UriPassword => plausible(secret::uri_password(value)),
            V::Entropy => plausible(random::entropy(value)),
            V::Random => plausible(random::random(value)),
            V::Drawn => plausible(random::drawn(value)),
            V::NoPlaceholder => plausible(random::not_a_placeholder(value)),
            V::PasswordQuoted => plausible(password::password_quoted(value)),
            V::PasswordSetting => plausible(password::password_setting(value)),
            V::PasswordBare => plausible(password::password_bare(value)),
            V::Credentials => plausible(password::credentials(value)),
            V::GrafanaKey => plausible(secret::grafana_key(value)),
            V::GrafanaService => secret::grafana_service(value),
            V::Pypi => secret::pypi(value),
            V::Slack => plausible(secret::slack(value)),
        }
    }
}

fn confirm(holds: bool) -> Verdict {
    if holds { Verdict::Confirmed } else { Verdict::Reject }
}

fn plausible(holds: bool) -> Verdict {
    if holds { Verdict::Plausible } else { Verdict::Reject }
}

/// The six characters that end a GitHub or npm token with the body `data`.
#[cfg(test)]
pub(super) fn github_check(data: &[u8]) -> [u8; 6] {
    secret::base62(secret::crc32(data))
}
