//! Tokens that open nothing.

use anyhow::Result;
use rejoin_tests::command;
use rejoin_tests::server::Server;
use rejoin_tests::token::{
    SECRET, Signer, claims, ed25519, encoded, private_pem, public_pem, seconds, sign, token, token_with,
};
use ring::signature::KeyPair as _;
use serde_json::{Value, json};

use super::{ALL, User, file, guarded};

async fn status(server: &Server, headers: &[(&str, &str)], query: &str) -> Result<(u16, String, String)> {
    let answer = server.client().send("GET", &format!("/v1/streams{query}"), headers, "").await?;
    let challenge = answer.headers.get("www-authenticate").and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ok((answer.status, challenge.to_owned(), String::from_utf8_lossy(&answer.body).into_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_good_token_lets_anybody_in() -> Result<()> {
    let server = guarded(|config| config.access.auth_audience = Some("rejoin".to_owned())).await?;
    let aud = json!({"aud": "rejoin"});
    let hs = json!({"alg": "HS256", "typ": "JWT"});
    let fine = claims("u1", "list", &aud);
    let with = |more: Value| {
        let mut all = aud.clone();
        all.as_object_mut().zip(more.as_object()).into_iter().for_each(|(all, more)| all.extend(more.clone()));
        token_with("u1", "list", &all)
    };
    let by = |header: Value, signer: Signer<'_>| sign(&header, &fine, &signer);
    let good = token_with("u1", "list", &aud);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let (status, ..) = status(&server, &[("authorization", &format!("{scheme} {good}"))], "").await?;
        assert_eq!(status, 200, "{scheme}");
    }

    let (none, challenge, _) = status(&server, &[], "").await?;
    assert_eq!((none, challenge.as_str()), (401, "Bearer"));
    for (what, token) in [
        ("expired", with(json!({"exp": seconds(-120)}))),
        ("without an end", with(json!({"exp": null}))),
        ("an end that is none", with(json!({"exp": "never"}))),
        ("not yet valid", with(json!({"nbf": seconds(120)}))),
        ("without an audience", token("u1", "list")),
        ("another audience", with(json!({"aud": "other"}))),
        ("without a user", with(json!({"sub": ""}))),
        ("a user too long", with(json!({"sub": "x".repeat(257)}))),
        ("a pattern that is none", with(json!({"stream": null}))),
        ("another key", by(hs.clone(), Signer::Secret(&[7; 40]))),
        ("no signature", by(hs.clone(), Signer::Nobody)),
        ("alg none", by(json!({"alg": "none"}), Signer::Nobody)),
        ("alg NONE", by(json!({"alg": "NONE"}), Signer::Nobody)),
        ("alg none, signed", by(json!({"alg": "none"}), Signer::Secret(SECRET.as_bytes()))),
        ("HS512 by name", by(json!({"alg": "HS512"}), Signer::Secret(SECRET.as_bytes()))),
        ("EdDSA by name", by(json!({"alg": "EdDSA"}), Signer::Secret(SECRET.as_bytes()))),
        ("an extension", by(json!({"alg": "HS256", "crit": ["b64"], "b64": false}), Signer::Secret(SECRET.as_bytes()))),
        (
            "its own key",
            by(json!({"alg": "HS256", "jwk": {"kty": "oct", "k": encoded([7; 40])}}), Signer::Secret(&[7; 40])),
        ),
        ("over-long", with(json!({"pad": "x".repeat(8 * 1024)}))),
        ("other claims", {
            let parts: Vec<&str> = good.split('.').collect();
            format!("{}.{}.{}", parts[0], encoded(claims("u2", "admin", &aud).to_string()), parts[2])
        }),
        ("garbage", "garbage".to_owned()),
        ("dots", "..".to_owned()),
        ("more behind it", format!("{good}.x")),
        ("nothing", String::new()),
    ] {
        let (status, challenge, body) = status(&server, &[("authorization", &format!("Bearer {token}"))], "").await?;
        assert_eq!((status, challenge.as_str()), (401, "Bearer error=\"invalid_token\""), "{what}: {body}");
        assert!(token.len() < 8 || !body.contains(&token), "{what}: {body}");
    }
    for (what, headers, query) in [
        ("in the address", vec![], format!("?access_token={good}&token={good}&ticket={good}")),
        ("another scheme", vec![("authorization", format!("Basic {good}"))], String::new()),
        ("bare", vec![("authorization", good.clone())], String::new()),
        (
            "twice",
            vec![("authorization", format!("Bearer {good}")), ("authorization", format!("Bearer {good}"))],
            String::new(),
        ),
        (
            "another header",
            vec![("x-authorization", format!("Bearer {good}")), ("cookie", format!("token={good}"))],
            String::new(),
        ),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(status(&server, &headers, &query).await?.0, 401, "{what}");
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_key_is_no_secret() -> Result<()> {
    let key = ed25519([9; 32]);
    let pem = public_pem(&key);
    let held = file(&pem)?;
    let server = Server::start_with(|config| config.access.auth_key_file = Some(held.path().to_owned())).await?;
    let claims = claims("u1", "list", &json!({}));
    let check = async |header: Value, signer: Signer<'_>| {
        let bearer = format!("Bearer {}", sign(&header, &claims, &signer));
        Ok::<_, anyhow::Error>(status(&server, &[("authorization", &bearer)], "").await?.0)
    };
    assert_eq!(check(json!({"alg": "EdDSA"}), Signer::Ed25519(&key)).await?, 200);
    let bare = key.public_key();
    for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), bare.as_ref(), encoded(bare).as_bytes()] {
        assert_eq!(check(json!({"alg": "HS256"}), Signer::Secret(secret)).await?, 401);
        assert_eq!(check(json!({"alg": "EdDSA"}), Signer::Secret(secret)).await?, 401);
    }
    assert_eq!(check(json!({"alg": "EdDSA"}), Signer::Ed25519(&ed25519([8; 32]))).await?, 401);
    assert_eq!(check(json!({"alg": "HS256"}), Signer::Ed25519(&key)).await?, 401);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_the_command_is_good_for_the_server_that_has_the_other_half() -> Result<()> {
    let seed = [5; 32];
    let pairs = [
        (format!("{SECRET}\n"), SECRET.to_owned()),
        (SECRET.to_owned(), format!("{SECRET}\r\n")),
        (private_pem(seed), public_pem(&ed25519(seed))),
    ];
    for (signs, verifies) in pairs {
        let (signs, verifies) = (file(&signs)?, file(&verifies)?);
        let server =
            Server::start_with(|config| config.access.auth_key_file = Some(verifies.path().to_owned())).await?;
        let path = signs.path().to_str().unwrap_or_default();
        let arguments = ["token", "--sub", "u1", "--scope", "produce,subscribe", "--stream", "chat-*", "--ttl", "10m"];
        let printed = command::run(&arguments, &[("REJOIN_AUTH_KEY_FILE", path)]).await?;
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        let user = User::new(&server, String::from_utf8(printed.stdout)?.trim());
        user.send("POST", "/v1/streams/chat-1", "{}").await?.expect(201)?;
        user.send("POST", "/v1/streams/other", "{}").await?.expect(403)?;
        user.send("GET", "/v1/streams", "").await?.expect(403)?;
        server.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_file_that_is_of_no_use_ends_the_start_and_says_what_to_do() -> Result<()> {
    for (text, says) in [
        ("short", "openssl rand"),
        (private_pem([1; 32]).as_str(), "-pubout"),
        ("{}", "JWKS"),
        (r#"{"keys":[{"kty":"RSA","n":"x","e":"AQAB"}]}"#, "HS256"),
    ] {
        let key = file(text)?;
        let path = key.path().to_str().unwrap_or_default();
        let ended = command::run(&["--listen", "127.0.0.1:0", "--auth-key-file", path], &[]).await?;
        let error = String::from_utf8(ended.stderr)?;
        assert!(!ended.status.success() && error.contains(says) && error.contains("--auth-key-file"), "{error}");
        assert!(!error.contains(text), "{error}");
    }
    let bad = command::run(&["token", "--sub", "u", "--scope", "everything", "--key-file", "k"], &[]).await?;
    assert_eq!(bad.status.code(), Some(64), "{}", String::from_utf8_lossy(&bad.stderr));
    let help = command::run(&["token", "--help"], &[]).await?;
    assert!(String::from_utf8(help.stdout)?.contains("openssl genpkey -algorithm ed25519"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_that_is_missing_is_named() -> Result<()> {
    let server = guarded(|_| {}).await?;
    User::new(&server, &token("u1", ALL)).send("POST", "/v1/streams/s", "{}").await?.expect(201)?;
    let ask = async |scope: &str, method: &str, path: &str, body: &'static str| {
        let answer = User::new(&server, &token("u1", scope)).send(method, path, body).await?;
        let challenge = answer.headers.get("www-authenticate").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok::<_, anyhow::Error>((answer.problem(), challenge))
    };
    let refused = |scope: &str| {
        (
            (403, "insufficient_scope".to_owned()),
            Some(format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"")),
        )
    };
    assert_eq!(ask("produce abort list", "GET", "/v1/streams/s/resume", "").await?, refused("subscribe"));
    assert_eq!(ask("subscribe", "POST", "/v1/streams/s/abort", "{}").await?, refused("abort"));
    assert_eq!(ask("subscribe", "GET", "/v1/stats", "").await?, refused("list"));
    assert_eq!(ask("subscribe", "PATCH", "/v1/streams/s", "{}").await?, refused("produce"));
    assert_eq!(ask("subscribe", "GET", "/v1/streams/s/signals", "").await?, refused("produce"));
    let pause = r#"{"type":"request","action":{"id":"a"}}"#;
    assert_eq!(ask("subscribe", "POST", "/v1/streams/s/action", pause).await?, refused("produce"));
    let stranger = ask("", "POST", "/v1/streams/s", "{}").await?;
    assert_eq!(stranger, refused("produce"), "{stranger:?}");
    server.stop().await
}
