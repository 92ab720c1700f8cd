//! Goal: who may make which call is what people decided, and nothing else.
//!
//! Method: the table below is written by hand, apart from the code. Every call of the API is made with a token of every role,
//! and with that of an admin of one share; each is refused exactly where the table says so. A call that is in one of the
//! two tables and not in the other fails.

use std::collections::BTreeSet;

use super::network::OnNetwork;
use crate::admin::table::TABLE;

/// Whose token each column stands for.
const TOKENS: [&str; 5] = ["viewer", "operator", "admin", "auditor", "docs"];
/// The order of calls: those that may change much come last.
const ORDER: [usize; 5] = [0, 3, 1, 4, 2];

/// Each call, and who may make it: viewer, operator, admin, auditor, and an admin of share `docs` alone.
const WHO_MAY: &str = "
GET /status                                   yes  yes  yes  yes  yes
GET /alarms                                   yes  yes  yes  yes  yes
GET /metrics                                  yes  yes  yes  yes  no
GET /openapi.json                             yes  yes  yes  yes  yes
POST /settings/reload                         no   no   yes  no   no
GET /jobs                                     yes  yes  yes  yes  yes
GET /jobs/{job}                               yes  yes  yes  yes  no
POST /jobs/{job}/cancel                       no   yes  yes  no   no
POST /session                                 yes  yes  yes  yes  yes
GET /session                                  yes  yes  yes  yes  yes
DELETE /session                               yes  yes  yes  yes  yes
GET /audit                                    no   no   yes  yes  no
GET /tokens                                   no   no   yes  no   no
POST /tokens                                  no   no   yes  no   no
DELETE /tokens/{token}                        no   no   yes  no   no
POST /access-keys                             no   no   yes  no   no
POST /access-keys/{id}                        no   no   yes  no   no
DELETE /access-keys/{id}                      no   no   yes  no   no
GET /shares                                   yes  yes  yes  yes  yes
POST /shares                                  no   no   yes  no   no
GET /shares/{share}                           yes  yes  yes  yes  yes
DELETE /shares/{share}                        no   no   yes  no   yes
GET /shares/{share}/heads                     yes  yes  yes  yes  yes
POST /shares/{share}/commit                   no   yes  yes  no   yes
POST /shares/{share}/handover                 no   no   yes  no   yes
POST /shares/{share}/clone                    no   no   yes  no   no
POST /shares/{share}/warm                     no   yes  yes  no   yes
GET /recovery                                 yes  yes  yes  yes  yes
GET /shares/{share}/snapshots                 yes  yes  yes  yes  yes
POST /shares/{share}/snapshots                no   yes  yes  no   yes
DELETE /shares/{share}/snapshots/{snapshot}   no   no   yes  no   yes
POST /shares/{share}/diff                     yes  yes  yes  no   yes
GET /shares/{share}/files                     yes  yes  yes  no   yes
GET /shares/{share}/file                      no   yes  yes  no   yes
POST /shares/{share}/restore                  no   yes  yes  no   yes
POST /shares/{share}/rollback                 no   no   yes  no   yes
GET /shares/{share}/branches                  yes  yes  yes  yes  yes
DELETE /shares/{share}/branches/{branch}      no   no   yes  no   yes
POST /shares/{share}/branches/{branch}/diff   yes  yes  yes  no   yes
POST /shares/{share}/branches/{branch}/apply  no   yes  yes  no   yes
POST /shares/{share}/rejoin                   no   no   yes  no   yes
GET /shares/{share}/failback                  yes  yes  yes  yes  yes
GET /bin                                      yes  yes  yes  yes  yes
DELETE /bin                                   no   no   yes  no   no
POST /bin/{share}/restore                     no   no   yes  no   no
GET /shares/{share}/bin                       yes  yes  yes  yes  yes
DELETE /shares/{share}/bin                    no   no   yes  no   yes
POST /shares/{share}/bin/{snapshot}/restore   no   yes  yes  no   yes
DELETE /shares/{share}/bin/{snapshot}         no   no   yes  no   yes
POST /buckets                                 no   no   yes  no   no
DELETE /buckets/{bucket}                      no   no   yes  no   yes
POST /buckets/{bucket}/lifecycle              no   no   yes  no   yes
GET /targets                                  yes  yes  yes  yes  no
POST /targets                                 no   no   yes  no   no
DELETE /targets/{target}                      no   no   yes  no   no
POST /targets/{target}/promote                no   no   yes  no   no
POST /targets/{target}/limit                  no   yes  yes  no   no
POST /gc                                      no   no   yes  no   no
GET /scrub                                    yes  yes  yes  yes  no
POST /scrub/run                               no   yes  yes  no   no
GET /policies                                 yes  yes  yes  yes  yes
GET /policies/{policy}                        yes  yes  yes  yes  no
POST /policies/{policy}/run                   no   yes  yes  no   no
GET /policies/{policy}/simulation             yes  yes  yes  yes  no
GET /sources                                  yes  yes  yes  yes  no
GET /sources/{source}                         yes  yes  yes  yes  no
POST /sources/{source}/run                    no   yes  yes  no   no
GET /volumes                                  yes  yes  yes  yes  yes
POST /volumes                                 no   no   yes  no   no
DELETE /volumes/{volume}                      no   no   yes  no   no
POST /volumes/{volume}/resize                 no   no   yes  no   no
POST /volumes/{volume}/show                   no   yes  yes  no   no
POST /volumes/{volume}/hide                   no   yes  yes  no   no
POST /volumes/{volume}/record                 no   yes  yes  no   no
POST /volumes/{volume}/record-end             no   yes  yes  no   no
GET /volumes/{volume}/boot-order              yes  yes  yes  yes  no
POST /volumes/{volume}/boot-order             no   yes  yes  no   no
DELETE /volumes/{volume}/boot-order           no   no   yes  no   no
GET /runbooks                                 yes  yes  yes  yes  yes
GET /runbooks/{runbook}/runs                  yes  yes  yes  yes  no
POST /runbooks/{runbook}/runs                 no   yes  yes  no   no
GET /runbooks/{runbook}/runs/{run}            yes  yes  yes  yes  no
GET /clients                                  yes  yes  yes  yes  no
GET /keys                                     yes  yes  yes  yes  no
GET /machines                                 yes  yes  yes  yes  no
POST /machines/{machine}/start                no   yes  yes  no   no
POST /machines/{machine}/stop                 no   yes  yes  no   no
";

fn path_of(path: &str) -> String {
    let named = [("{share}", "docs"), ("{bucket}", "docs"), ("{volume}", "nothing"), ("{job}", "0")];
    let path = named.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
    let parts = path.split('/').map(|part| if part.starts_with('{') { "nothing" } else { part });
    format!("/api/v1{}", parts.collect::<Vec<_>>().join("/"))
}

fn rows() -> impl Iterator<Item = (&'static str, &'static str, Vec<bool>)> {
    WHO_MAY.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
        let allowed: Vec<bool> = words.map(|word| word == "yes").collect();
        assert_eq!(allowed.len(), TOKENS.len(), "{line}");
        (method, path, allowed)
    })
}

#[test]
fn both_tables_have_the_same_calls() {
    let decided: BTreeSet<String> = rows().map(|(method, path, _)| format!("{method} {path}")).collect();
    let routed: BTreeSet<String> = TABLE.iter().map(|row| format!("{} {}", row.method, row.path)).collect();
    assert_eq!(decided, routed);
    assert_eq!(decided.len(), TABLE.len());
}

#[tokio::test]
async fn every_call_with_every_role_is_let_through_or_refused_as_decided() {
    let mut wrong = Vec::new();
    for (method, path, allowed) in rows() {
        let network = OnNetwork::start().await;
        let path = path_of(path);
        for at in ORDER {
            let answer = network.with(TOKENS[at], method, &path, "{}").await;
            let refused = matches!(answer.status, 0 | 401 | 403 | 405 | 429);
            let is_right = if allowed[at] { !refused } else { answer.status == 403 };
            if !is_right {
                wrong.push(format!("{method} {path} as {}: {}", TOKENS[at], answer.status));
            }
        }
        // Without a token nobody gets through; a login needs none, and gets nowhere with this body.
        let stranger = network.call(method, &path, &[], "{}").await.status;
        let expected = if path.ends_with("/session") && method == "POST" { 400 } else { 401 };
        if stranger != expected {
            wrong.push(format!("{method} {path} as nobody: {stranger}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
