//! Validators: what a value must satisfy beyond its shape. Checksums, number plans, structure.

mod checksum;
mod finance;
mod national;
mod net;
mod password;
mod random;
mod secret;

use serde::Deserialize;

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
    Base58check,
    Bech32,
    Ethereum,
    // network and devices
    Email,
    Ipv4,
    Ipv6,
    Mac,
    Imei,
    Vin,
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
    DeVatId,
    FrNir,
    EsNif,
    ItFiscalCode,
    ItVat,
    PlPesel,
    NlBsn,
    SePersonnummer,
    FiHetu,
    BrCpf,
    BrCnpj,
    InAadhaar,
    InPan,
    InGstin,
    SgNric,
    KrRrn,
    KrBrn,
    TrTckn,
    ThTnin,
    ZaId,
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
            V::Base58check => confirm(finance::base58check(value)),
            V::Bech32 => confirm(finance::bech32(value)),
            V::Ethereum => plausible(random::not_a_placeholder(value)),
            V::Email => plausible(net::email(value)),
            V::Ipv4 => plausible(net::ipv4(value)),
            V::Ipv6 => plausible(net::ipv6(value)),
            V::Mac => plausible(net::mac(value)),
            V::Imei => confirm(national::imei(value)),
            V::Vin => confirm(national::vin(value)),
            V::UsSsn => plausible(national::us_ssn(value)),
            V::UsItin => plausible(national::us_itin(value)),
            V::UsNpi => confirm(national::us_npi(value)),
            V::UsMbi => plausible(national::us_mbi(value)),
            V::UsDea => confirm(national::us_dea(value)),
            V::UkNhs => confirm(national::uk_nhs(value)),
            V::UkNino => plausible(national::uk_nino(value)),
            V::UkUtr => confirm(national::uk_utr(value)),
            V::CaSin => confirm(national::ca_sin(value)),
            V::AuAbn => confirm(national::au_abn(value)),
            V::AuAcn => confirm(national::au_acn(value)),
            V::AuTfn => confirm(national::au_tfn(value)),
            V::AuMedicare => confirm(national::au_medicare(value)),
            V::DeTaxId => confirm(national::de_tax_id(value)),
            V::DeVatId => confirm(national::de_vat_id(value)),
            V::FrNir => confirm(national::fr_nir(value)),
            V::EsNif => confirm(national::es_nif(value)),
            V::ItFiscalCode => national::it_fiscal_code(value),
            V::ItVat => confirm(national::it_vat(value)),
            V::PlPesel => confirm(national::pl_pesel(value)),
            V::NlBsn => confirm(national::nl_bsn(value)),
            V::SePersonnummer => confirm(national::se_personnummer(value)),
            V::FiHetu => confirm(national::fi_hetu(value)),
            V::BrCpf => confirm(national::br_cpf(value)),
            V::BrCnpj => confirm(national::br_cnpj(value)),
            V::InAadhaar => confirm(national::in_aadhaar(value)),
            V::InPan => plausible(national::in_pan(value)),
            V::InGstin => national::in_gstin(value),
            V::SgNric => national::sg_nric(value),
            V::KrRrn => national::kr_rrn(value),
            V::KrBrn => confirm(national::kr_brn(value)),
            V::TrTckn => confirm(national::tr_tckn(value)),
            V::ThTnin => confirm(national::th_tnin(value)),
            V::ZaId => confirm(national::za_id(value)),
            V::CnResidentId => confirm(national::cn_resident_id(value)),
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
