//! Claims about bearer tokens of OpenID providers: which are taken, what their holders may do, and what a provider that is
//! away, slow, or says too much does to others.
//!
//! Method: a provider on this machine, over TLS, whose keys are made in the test; tokens are put together by hand, so that they
//! can be wrong in every way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64_simd::URL_SAFE_NO_PAD as BASE64;
use parking_lot::Mutex;
use tidegate_protocols::s3::{TlsIdentity, tls_acceptor};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use super::network::{Answered, OnNetwork, certificates};
use super::*;

const STATUS: &str = "/api/v1/status";
/// The longest answer of a provider that is read, and one more.
const TOO_LONG: usize = (256 << 10) + 1;

fn encoded(bytes: &[u8]) -> String {
    BASE64.encode_to_string(bytes)
}

/// A key of a provider.
enum Signing {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signing {
    fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().expect("a key"))
    }

    fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
    }

    fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed(_) => "EdDSA",
            Self::Ec(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Ec(pair) => pair.sign(&SystemRandom::new(), message).expect("signed").as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).expect("signed");
                signature
            }
        }
    }

    fn jwk(&self, id: &str) -> Value {
        match self {
            Self::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "use": "sig", "x": encoded(pair.public_key().as_ref()) })
            }
            Self::Ec(pair) => {
                // 4, x, y (SEC 1, section 2.3.3).
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "alg": "ES256", "x": encoded(x), "y": encoded(y) })
            }
            Self::Rsa(pair) => {
                json!({ "kty": "RSA", "kid": id, "use": "sig", "n": encoded(&modulus(pair)), "e": encoded(&[1, 0, 1]) })
            }
        }
    }
}

/// The modulus of a key of 2,048 bits, out of its RSAPublicKey (RFC 8017, appendix A.1.1).
fn modulus(pair: &RsaKeyPair) -> Vec<u8> {
    const BEFORE: usize = 9;
    pair.public_key().as_ref()[BEFORE..BEFORE + 256].to_vec()
}

/// How the provider answers.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Usual,
    Away,
    /// Answers nothing.
    Silent,
    TooLong,
    OfAnother,
    Redirects,
    Broken,
    /// Its keys are to be had without TLS.
    Plain,
}

struct State {
    mood: Mood,
    keys: Vec<Value>,
}

/// A provider on this machine.
struct Provider {
    issuer: String,
    state: Mutex<State>,
    /// How often its keys were asked for.
    asked: AtomicU64,
}

impl Provider {
    async fn start(keys: Vec<Value>) -> Arc<Self> {
        let folder = certificates();
        let read = |name: &str| std::fs::read(folder.join(name)).expect("readable");
        let identity =
            TlsIdentity { certificates: read("localhost.pem"), key: Zeroizing::new(read("localhost.key")) };
        let acceptor = tls_acceptor(&identity).expect("a certificate");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let state = Mutex::new(State { mood: Mood::Usual, keys });
        let asked = AtomicU64::new(0);
        let provider = Arc::new(Self { issuer: format!("https://localhost:{port}/staff"), state, asked });
        tokio::spawn({
            let provider = provider.clone();
            async move {
                loop {
                    let Ok((stream, _)) = listener.accept().await else { return };
                    if provider.state.lock().mood == Mood::Away {
                        continue;
                    }
                    let Ok(stream) = acceptor.accept(stream).await else { continue };
                    tokio::spawn(provider.clone().answer(stream));
                }
            }
        });
        provider
    }

    async fn answer(self: Arc<Self>, mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let path = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or_default().to_owned();
        if self.state.lock().mood == Mood::Silent {
            // Until the other side has had enough.
            let _ = stream.read_u8().await;
            return;
        }
        let (status, body) = self.says(&path);
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nlocation: {}/keys\r\nconnection: close\r\n\r\n{body}",
            self.issuer
        );
        // Who reads no further than they want to hangs up.
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }

    fn says(&self, path: &str) -> (&'static str, String) {
        let state = self.state.lock();
        let issuer = &self.issuer;
        if path == "/staff/keys" {
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
        match (path, state.mood) {
            (_, Mood::TooLong) => ("200 OK", format!("{{\"x\":\"{}\"}}", "x".repeat(TOO_LONG))),
            (_, Mood::Broken) => ("200 OK", "{".to_owned()),
            (_, Mood::Redirects) => ("302 Found", String::new()),
            ("/staff/.well-known/openid-configuration", Mood::OfAnother) => (
                "200 OK",
                json!({ "issuer": "https://localhost/other", "jwks_uri": format!("{issuer}/keys") })
                    .to_string(),
            ),
            ("/staff/.well-known/openid-configuration", mood) => {
                let place = match mood {
                    Mood::Plain => issuer.replacen("https", "http", 1),
                    _ => issuer.clone(),
                };
                ("200 OK", json!({ "issuer": issuer, "jwks_uri": format!("{place}/keys") }).to_string())
            }
            ("/staff/keys", _) => ("200 OK", json!({ "keys": state.keys }).to_string()),
            _ => ("404 Not Found", String::new()),
        }
    }

    fn is(&self, mood: Mood) {
        self.state.lock().mood = mood;
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Claims of a token that is taken.
    fn claims(&self) -> Value {
        let now = jiff::Timestamp::now().as_second();
        json!({ "iss": self.issuer, "aud": ["other", "tidegate"], "sub": "u-17", "exp": now + 300, "nbf": now - 5, "groups": ["all", "ops"] })
    }
}

fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message =
        format!("{}.{}", encoded(header.to_string().as_bytes()), encoded(claims.to_string().as_bytes()));
    let signature = encoded(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn signed(key: &Signing, id: &str, claims: &Value) -> String {
    let header = json!({ "alg": key.algorithm(), "kid": id, "typ": "at+jwt" });
    token(&header, claims, |message| key.sign(message))
}

/// As many wrong tokens as a test wants to show.
const GUESSES: &str = "failures_per_minute = 1000";

/// A gateway that takes tokens of a provider, with more about its API.
async fn network(provider: &Provider, api: &str) -> OnNetwork {
    let authority = certificates().join("authority.pem");
    OnNetwork::start_with(&format!(
        "{api}\n[[oidc]]\nname = \"staff\"\nissuer = \"{}\"\naudience = \"tidegate\"\nca_file = {authority:?}\n\
         grants = [{{ value = \"ops\", role = \"operator\" }}, {{ value = \"docs\", role = \"viewer\", shares = [\"docs\"] }}]\n",
        provider.issuer
    ))
    .await
}

async fn get(network: &OnNetwork, token: &str, path: &str) -> Answered {
    network.call("GET", path, &[&format!("authorization: Bearer {token}")], "").await
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[tokio::test]
async fn who_has_a_token_of_the_provider_may_do_what_its_claim_grants_and_is_in_the_log_by_its_subject() {
    let keys: HashMap<&str, Signing> =
        HashMap::from([("ed", Signing::ed()), ("ec", Signing::ec()), ("rsa", Signing::rsa())]);
    let mut published: Vec<Value> = keys.iter().map(|(id, key)| key.jwk(id)).collect();
    // What is of no use is passed over.
    published.push(json!({ "kty": "oct", "kid": "shared", "k": encoded(b"secret") }));
    published.push(json!({ "kty": "new", "kid": "strange" }));
    let provider = Provider::start(published).await;
    let network = network(&provider, GUESSES).await;
    for (id, key) in &keys {
        let token = signed(key, id, &provider.claims());
        assert_eq!(get(&network, &token, STATUS).await.status, 200, "{id}");
        let commit = network
            .call("POST", "/api/v1/shares/docs/commit", &[&format!("authorization: Bearer {token}")], "{}")
            .await;
        assert_eq!(commit.status, 202, "{id}");
        assert_eq!(get(&network, &token, "/api/v1/audit").await.status, 403, "an operator reads no log");
    }
    assert_eq!(provider.asked(), 1, "keys are kept");
    let who: Vec<String> = network.records().into_iter().map(|record| record.entry.who).collect();
    assert_eq!(who.iter().filter(|who| *who == "oidc:staff:u-17").count(), 3 * 3, "{who:?}");
    // The first grant that fits counts; one of single shares is for these alone.
    let docs = signed(&keys["ed"], "ed", &with(provider.claims(), "groups", json!("docs")));
    assert_eq!(get(&network, &docs, "/api/v1/shares/docs").await.status, 200);
    assert_eq!(get(&network, &docs, "/api/v1/targets").await.status, 403);
    for nothing in [json!("nobody"), json!([]), json!({ "ops": true }), Value::Null, json!(["opsx"])] {
        let claims = with(provider.claims(), "groups", nothing.clone());
        assert_eq!(get(&network, &signed(&keys["ed"], "ed", &claims), STATUS).await.status, 403, "{nothing}");
        let last = network.records().pop().expect("recorded").entry;
        assert_eq!((last.who.as_str(), last.role.as_str()), ("oidc:staff:u-17", ""), "{last:?}");
    }
    let whoami = get(&network, &docs, "/api/v1/session").await.body;
    assert_eq!((&whoami["name"], &whoami["shares"]), (&json!("oidc:staff:u-17"), &json!(["docs"])));
    // The console is not entered by it.
    let body = json!({ "token": signed(&keys["ed"], "ed", &provider.claims()) }).to_string();
    assert_eq!(network.call("POST", "/api/v1/session", &[], &body).await.status, 401);
    // No token is in the log: each begins like this.
    let folder = network.served.folder.path().join("audit");
    let files = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let log: String = files.map(|file| std::fs::read_to_string(file).expect("text")).collect();
    assert!(log.contains("oidc:staff:u-17") && !log.contains("eyJ"), "{log}");
}

/// Shows tokens, none of which is taken; then one that is.
async fn refused(network: &OnNetwork, wrong: Vec<(&str, String)>, good: &str) {
    for (what, token) in wrong {
        assert_eq!(get(network, &token, STATUS).await.status, 401, "{what}");
    }
    assert_eq!(get(network, good, STATUS).await.status, 200, "and one with nothing wrong is");
}

#[tokio::test]
async fn a_token_that_says_anything_wrong_is_taken_by_nobody() {
    let key = Signing::ed();
    let provider = Provider::start(vec![key.jwk("k")]).await;
    let network = network(&provider, GUESSES).await;
    let (good, now) = (provider.claims(), jiff::Timestamp::now().as_second());
    let wrong = [
        ("another issuer", "iss", json!("https://localhost/other")),
        ("a list of issuers", "iss", json!([provider.issuer])),
        ("an issuer with a slash more", "iss", json!(format!("{}/", provider.issuer))),
        ("another audience", "aud", json!("other")),
        ("no audience", "aud", Value::Null),
        ("audiences that are like ours", "aud", json!(["tidegate2", "tide", "Tidegate"])),
        ("expired", "exp", json!(now - 120)),
        ("no end", "exp", Value::Null),
        ("an end that is no number", "exp", json!("never")),
        ("an end before time", "exp", json!(-1)),
        ("not yet", "nbf", json!(now + 120)),
        ("a beginning that is no number", "nbf", json!("soon")),
        ("no subject", "sub", Value::Null),
        ("a subject of many lines", "sub", json!("a\nb")),
        ("a subject that reads from right to left", "sub", json!("\u{202e}a")),
        ("a subject that is too long", "sub", json!("x".repeat(256))),
        ("news of a logout", "events", json!({ "http://schemas.openid.net/event/backchannel-logout": {} })),
        ("too much", "more", json!("x".repeat(16 << 10))),
    ];
    let wrong = wrong.map(|(what, name, value)| (what, signed(&key, "k", &with(good.clone(), name, value))));
    refused(&network, wrong.into(), &signed(&key, "k", &good)).await;
    // Within the leeway both ends hold.
    for (name, value) in [("exp", now - 10), ("nbf", now + 10)] {
        let token = signed(&key, "k", &with(good.clone(), name, json!(value)));
        assert_eq!(get(&network, &token, STATUS).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn a_token_that_wants_to_be_verified_by_something_else_than_a_key_of_the_provider_is_taken_by_nobody() {
    let (key, other, rsa) = (Signing::ed(), Signing::ed(), Signing::rsa());
    let provider = Provider::start(vec![key.jwk("k"), rsa.jwk("r")]).await;
    let network = network(&provider, GUESSES).await;
    let good = provider.claims();
    let mut wrong = vec![
        ("another key", signed(&other, "k", &good)),
        ("a key of another kind", signed(&key, "r", &good)),
        ("no key of that id", signed(&key, "none", &good)),
    ];
    let place = format!("{}/keys", provider.issuer);
    for (what, header) in [
        ("none", json!({ "alg": "none", "kid": "k" })),
        ("None", json!({ "alg": "None", "kid": "k" })),
        ("no algorithm", json!({ "kid": "k" })),
        ("the key of an algorithm by another", json!({ "alg": "RS256", "kid": "k" })),
        ("an algorithm that is not taken", json!({ "alg": "RS512", "kid": "r" })),
        ("an extension", json!({ "alg": "EdDSA", "kid": "k", "crit": ["b64"], "b64": false })),
        ("a token for something else", json!({ "alg": "EdDSA", "kid": "k", "typ": "logout+jwt" })),
        ("its own key", json!({ "alg": "EdDSA", "kid": "own", "jwk": other.jwk("own") })),
        ("a key at an address of its own", json!({ "alg": "EdDSA", "kid": "own", "jku": place })),
    ] {
        wrong.push((what, token(&header, &good, |message| other.sign(message))));
        wrong.push((what, token(&header, &good, |message| key.sign(message))));
        wrong.push((what, token(&header, &good, |_| Vec::new())));
    }
    // The public key as the secret of a MAC, as it stands in the set and as bytes.
    let Signing::Rsa(pair) = &rsa else { unreachable!("it was made so") };
    for secret in [modulus(pair), pair.public_key().as_ref().to_vec(), rsa.jwk("r").to_string().into_bytes()]
    {
        let mac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        let sign = |message: &[u8]| aws_lc_rs::hmac::sign(&mac, message).as_ref().to_vec();
        wrong.push(("a MAC", token(&json!({ "alg": "HS256", "kid": "r" }), &good, sign)));
        wrong.push(("a MAC as RS256", token(&json!({ "alg": "RS256", "kid": "r" }), &good, sign)));
    }
    refused(&network, wrong, &signed(&key, "k", &good)).await;
}

#[tokio::test]
async fn a_token_that_was_changed_is_taken_by_nobody() {
    let key = Signing::ed();
    let provider = Provider::start(vec![key.jwk("k")]).await;
    let network = network(&provider, GUESSES).await;
    let good = provider.claims();
    let whole = signed(&key, "k", &good);
    let parts: Vec<&str> = whole.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    let others = encoded(with(good.clone(), "groups", json!("root")).to_string().as_bytes());
    // Its provider signed this one, and nobody knows which of the two was meant (RFC 7519 section 4).
    let twice = encoded(good.to_string().replacen('{', "{\"exp\":1,", 1).as_bytes());
    let twice = format!("{header}.{twice}");
    let wrong = vec![
        ("no signature", format!("{header}.{claims}.")),
        ("two parts", format!("{header}.{claims}")),
        ("five parts", format!("{whole}.e30.e30")),
        ("more before the claims", format!("{header}.e30{claims}.{signature}")),
        ("other claims under the same signature", format!("{header}.{others}.{signature}")),
        ("half a signature", format!("{header}.{claims}.{}", &signature[..signature.len() / 2])),
        ("a signature with more behind it", format!("{whole}AAAA")),
        ("padding", format!("{whole}==")),
        ("a claim twice", format!("{twice}.{}", encoded(&key.sign(twice.as_bytes())))),
    ];
    refused(&network, wrong, &whole).await;
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it_and_nobody_has_it_fetched_over_and_over() {
    let (old, new) = (Signing::ed(), Signing::ec());
    let began = std::time::Instant::now();
    let provider = Provider::start(vec![old.jwk("1")]).await;
    let network = network(&provider, GUESSES).await;
    assert_eq!(get(&network, &signed(&old, "1", &provider.claims()), STATUS).await.status, 200);
    assert_eq!(get(&network, &signed(&new, "2", &provider.claims()), STATUS).await.status, 401);
    provider.state.lock().keys = vec![new.jwk("2")];
    assert_eq!(get(&network, &signed(&new, "2", &provider.claims()), STATUS).await.status, 200);
    assert_eq!(
        get(&network, &signed(&old, "1", &provider.claims()), STATUS).await.status,
        401,
        "it was taken out"
    );
    for number in 0..20 {
        let strange = signed(&old, &format!("strange {number}"), &provider.claims());
        assert_eq!(get(&network, &strange, STATUS).await.status, 401);
    }
    // Four a minute, and four at once.
    let most = 4 + began.elapsed().as_secs() / 15;
    assert!(provider.asked() <= most, "asked {} times, not {most}", provider.asked());
    assert_eq!(
        get(&network, &signed(&new, "2", &provider.claims()), STATUS).await.status,
        200,
        "what is known counts"
    );
}

#[tokio::test]
async fn wrong_tokens_of_a_provider_are_throttled_as_others_are_and_valid_ones_by_their_own_calls() {
    let (key, other) = (Signing::ed(), Signing::ed());
    let provider = Provider::start(vec![key.jwk("k")]).await;
    let network = network(&provider, "failures_per_minute = 3").await;
    let (valid, forged) = (signed(&key, "k", &provider.claims()), signed(&other, "k", &provider.claims()));
    for _ in 0..3 {
        assert_eq!(get(&network, &forged, STATUS).await.status, 401);
    }
    let refused = get(&network, &forged, STATUS).await;
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (429, true));
    assert_eq!(network.with("guess", "GET", STATUS, "").await.status, 429, "they are counted together");
    assert_eq!(get(&network, &valid, STATUS).await.status, 200, "the same address");
}

#[tokio::test]
async fn who_is_granted_nothing_calls_so_often_and_no_more() {
    let key = Signing::ed();
    let provider = Provider::start(vec![key.jwk("k")]).await;
    let network = network(&provider, "calls_per_minute = 10").await;
    let token = signed(&key, "k", &with(provider.claims(), "groups", json!("nobody")));
    // However slowly this goes: it goes faster than ten a minute.
    let mut made = 0;
    while get(&network, &token, STATUS).await.status == 403 {
        made += 1;
        assert!(made < 100, "nobody stops it");
    }
    assert!(made >= 10, "{made}");
}

#[tokio::test]
async fn nobody_but_who_shows_its_tokens_waits_for_a_provider_and_they_not_for_long() {
    let key = Signing::ed();
    let provider = Provider::start(vec![key.jwk("k")]).await;
    provider.is(Mood::Silent);
    let network = network(&provider, GUESSES).await;
    let token = signed(&key, "k", &provider.claims());
    let refused = get(&network, &token, STATUS);
    tokio::pin!(refused);
    let others = async {
        for _ in 0..2 {
            assert_eq!(network.with("admin", "GET", STATUS, "").await.status, 200);
            assert_eq!(network.with("guess", "GET", STATUS, "").await.status, 401);
        }
    };
    tokio::select! {
        early = &mut refused => panic!("it did not wait for the provider: {early:?}"),
        () = others => {}
    }
    assert_eq!(refused.await.status, 503);
}

#[tokio::test]
async fn a_provider_that_is_away_or_says_nonsense_shuts_nobody_else_out() {
    let key = Signing::ed();
    let moods = [Mood::Away, Mood::TooLong, Mood::OfAnother, Mood::Redirects, Mood::Broken, Mood::Plain];
    for mood in moods {
        let provider = Provider::start(vec![key.jwk("k")]).await;
        provider.is(mood);
        let network = network(&provider, GUESSES).await;
        let token = signed(&key, "k", &provider.claims());
        let refused = get(&network, &token, STATUS).await;
        assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true));
        assert_eq!(
            network.with("admin", "GET", STATUS, "").await.status,
            200,
            "a token of the settings works"
        );
        provider.is(Mood::Usual);
        assert_eq!(get(&network, &token, STATUS).await.status, 200, "it is back");
        provider.is(mood);
        assert_eq!(get(&network, &token, STATUS).await.status, 200, "what is known counts");
    }
}

#[tokio::test]
async fn a_provider_that_is_taken_out_of_the_settings_lets_nobody_in() {
    let key = Signing::ed();
    let provider = Provider::start(vec![key.jwk("k")]).await;
    let network = network(&provider, GUESSES).await;
    let token = signed(&key, "k", &provider.claims());
    assert_eq!(get(&network, &token, STATUS).await.status, 200);
    let file = network.served.file();
    let text = std::fs::read_to_string(&file).expect("readable");
    std::fs::write(&file, text.replace("audience = \"tidegate\"", "audience = \"another\""))
        .expect("written");
    assert_eq!(network.with("admin", "POST", "/api/v1/settings/reload", "").await.status, 200);
    assert_eq!(get(&network, &token, STATUS).await.status, 401, "it is for another now");
    // And once the settings name none, nobody is let in by one.
    let (before, after) = text.split_once("[[oidc]]").expect("it is there");
    let (_, rest) = after.split_once("[[token]]").expect("tokens come after it");
    std::fs::write(&file, format!("{before}[[token]]{rest}")).expect("written");
    assert_eq!(network.with("admin", "POST", "/api/v1/settings/reload", "").await.status, 200);
    assert_eq!(get(&network, &token, STATUS).await.status, 401);
}
