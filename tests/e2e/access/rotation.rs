//! Keys come and go while the server runs.

use std::path::Path;

use anyhow::Result;
use rejoin_tests::server::Server;
use rejoin_tests::token::{Signer, claims, encoded, sign};
use rejoin_tests::wait::until;
use serde_json::{Value, json};

use super::{User, file};

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];

fn set(keys: &[(&str, [u8; 32])]) -> String {
    let keys: Vec<Value> =
        keys.iter().map(|(kid, key)| json!({"kty": "oct", "kid": kid, "k": encoded(key), "alg": "HS256"})).collect();
    json!({ "keys": keys }).to_string()
}

/// As a careful operator does it: the new file is whole before it has the name.
fn put(path: &Path, text: &str) -> Result<()> {
    let next = path.with_extension("next");
    std::fs::write(&next, text)?;
    Ok(std::fs::rename(next, path)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_keys_are_valid_during_a_rotation_and_the_old_one_is_refused_when_it_is_out() -> Result<()> {
    let key = file(&set(&[("old", OLD)]))?;
    let server = Server::start_with(|config| config.access.auth_key_file = Some(key.path().to_owned())).await?;
    let user = |kid: &str, key: [u8; 32]| {
        let header = json!({"alg": "HS256", "kid": kid});
        User::new(&server, &sign(&header, &claims("u1", "list", &json!({})), &Signer::Secret(&key)))
    };
    let (old, new) = (user("old", OLD), user("new", NEW));
    let status = async |user: &User| Ok::<_, anyhow::Error>(user.send("GET", "/v1/streams", "").await?.status);
    assert_eq!((status(&old).await?, status(&new).await?), (200, 401));

    put(key.path(), &set(&[("old", OLD), ("new", NEW)]))?;
    until("the new key", async || Ok((status(&new).await? == 200).then_some(()))).await?;
    assert_eq!(status(&old).await?, 200, "both are valid");

    // A file that is of no use changes nothing, and neither does one that is gone.
    put(key.path(), "{\"keys\":[")?;
    put(key.path(), "x")?;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!((status(&old).await?, status(&new).await?), (200, 200));

    put(key.path(), &set(&[("new", NEW)]))?;
    until("the end of the old key", async || Ok((status(&old).await? == 401).then_some(()))).await?;
    assert_eq!(status(&new).await?, 200);
    assert_eq!(status(&user("new", OLD)).await?, 401, "the old key under the new name");
    server.stop().await
}
