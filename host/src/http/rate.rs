//! What one user may ask of this host, as answers. Somebody who acts for all users has no limit, nor has anybody where
//! there is no key.

use std::time::Instant;

use http::{Method, StatusCode};

use super::Problem;
use super::route::Route;
use crate::app::App;
use crate::auth::Identity;
use crate::rates::{Exceeded, Limit, Permit};

/// Counts one request. The permit is of something that stays open: it is held until the answer has ended.
///
/// Errors: 429 `too_many_requests` with the limit and `Retry-After`; 503 `overloaded` when there are too many users.
pub(super) fn admit(app: &App, identity: &Identity, route: Route, method: &Method) -> Result<Option<Permit>, Problem> {
    let Some(user) = identity.user() else { return Ok(None) };
    let (rates, now) = (&app.rates, Instant::now());
    let counted = match (route, method) {
        (Route::Stream | Route::Sample, &Method::POST) => rates.create(user, now).map(|()| None),
        (Route::Events, &Method::POST) => rates.append(user, now).and_then(|()| rates.open(user, now)).map(Some),
        (Route::Events | Route::Signals, &Method::GET) => rates.open(user, now).map(Some),
        _ => Ok(None),
    };
    counted.map_err(problem)
}

fn problem(exceeded: Exceeded) -> Problem {
    let Exceeded { limit, max, retry_after } = exceeded;
    let (name, what, flag) = match limit {
        Limit::Appends => ("appends", "appends in a second", "--user-appends-per-s-max"),
        Limit::Creates => ("creates", "new generations in a minute", "--user-creates-per-min-max"),
        Limit::Connections => ("connections", "open streams and bodies at a time", "--user-connections-max"),
        Limit::Users => {
            let detail = format!("this host serves {max} users at a time: try again, or add a replica");
            return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(1);
        }
    };
    let detail = format!("one user may have {max} {what} on this host ({flag}): slow down, or try again later");
    let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail)
        .with("limit", name)
        .with("max", max)
        .retry_after(seconds.max(1))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http::header::RETRY_AFTER;

    use super::*;
    use crate::auth::Scope;
    use crate::config::Config;

    async fn app() -> Arc<App> {
        let mut config = Config { sessions_max: 4, ..Config::default() };
        (config.door.user_appends_per_s_max, config.door.user_creates_per_min_max) = (1, 2);
        config.door.user_connections_max = 1;
        App::start(config).await.expect("the component is built in")
    }

    #[tokio::test]
    async fn a_user_is_told_which_limit_it_is_and_when_to_come_again() {
        let (app, user) = (app().await, Identity::of("u", vec![Scope::Produce, Scope::Subscribe], None));
        let ask = |route, method: Method| admit(&app, &user, route, &method);
        assert!(ask(Route::Stream, Method::POST).expect("one of two").is_none());
        assert!(ask(Route::Stream, Method::POST).is_ok());
        let problem = ask(Route::Stream, Method::POST).expect_err("two a minute");
        assert_eq!((problem.status.as_u16(), problem.code), (429, "too_many_requests"));
        assert!(problem.body().contains(r#""limit":"creates","max":2"#), "{}", problem.body());
        assert_eq!(problem.response().headers()[RETRY_AFTER], "30");

        let live = ask(Route::Events, Method::GET).expect("one may be open");
        assert!(live.is_some());
        let problem = ask(Route::Signals, Method::GET).expect_err("one is open");
        assert!(problem.body().contains(r#""limit":"connections","max":1"#), "{}", problem.body());
        drop(live);
        assert!(ask(Route::Signals, Method::GET).is_ok());
        assert!(ask(Route::Stream, Method::GET).expect("reading is free").is_none());
    }

    #[tokio::test]
    async fn whoever_acts_for_all_users_has_no_limit() {
        let app = app().await;
        for identity in [Identity::anybody(), Identity::of("operator", vec![Scope::Admin], None)] {
            for _ in 0..20 {
                let permit = admit(&app, &identity, Route::Events, &Method::POST).expect("no limit");
                assert!(permit.is_none());
            }
        }
        assert_eq!(app.rates.users(), 0);
    }

    #[test]
    fn too_many_users_are_the_hosts_fault() {
        let exceeded = Exceeded { limit: Limit::Users, max: 7, retry_after: Duration::from_secs(1) };
        let problem = problem(exceeded);
        assert_eq!((problem.status.as_u16(), problem.code), (503, "overloaded"));
    }
}
