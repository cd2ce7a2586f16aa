//! An engine behind certificates and behind ssh: the command lives with a stack there as it does on a socket, and whoever is
//! not let in is told why, and what to do.

use std::fs;
use std::process::Command;

use windflow_bed::{Doors, doors};

use crate::corner::Corner;
use crate::world::Done;

fn corner(doors: &Doors) -> Corner {
    let (tls, folder) = (&doors.tls, doors.folder.display());
    let with = |name: &str| format!("  {name}: {{ kind: docker, endpoint: '{tls}', tls: '{folder}/tls/{name}' }}\n");
    let through = |name: &str, key: &str| {
        format!("  {name}: {{ kind: docker, endpoint: '{}', ssh_key: '{folder}/ssh/{key}' }}\n", doors.ssh)
    };
    let all = [
        ["known", "unsigned", "expired", "elsewhere"].map(with).concat(),
        through("far", "key"),
        through("stranger", "unknown"),
        "  away: { kind: docker, endpoint: 'ssh://root@127.0.0.1:1' }\n".to_owned(),
        format!("  plain: {{ kind: docker, endpoint: '{tls}' }}\n"),
    ];
    let corner = Corner::new(&all.concat());
    corner.world.write(
        "stack.yaml",
        &format!(
            "name: {}\nservices:\n  web:\n    image: wf-busybox:1\n    command: [sh, -c, 'echo up; exec sleep 1000']\n    \
             stop_grace_period: 0s\n    configs: [page]\nconfigs: {{ page: {{ content: hello }} }}\n",
            corner.owner
        ),
    );
    corner
}

/// Runs the command where ssh knows these machines and no others: `ssh` looks at home, whatever `HOME` says.
fn knowing(corner: &Corner, known_hosts: &str, args: &str) -> Done {
    let home = Command::new("sh").args(["-c", "getent passwd $(id -u) | cut -d: -f6"]).output().unwrap();
    let home = String::from_utf8(home.stdout).unwrap();
    fs::write(corner.world.dir.join("known_hosts"), known_hosts).unwrap();
    let script = "mkdir -p \"$0/.ssh\" && mount -t tmpfs bed \"$0/.ssh\" && cp known_hosts \"$0/.ssh\" && exec \"$@\"";
    let command = corner.world.command(args);
    let mut within = Command::new("unshare");
    within.args(["--mount", "sh", "-ec", script, home.trim()]).arg(command.get_program()).args(command.get_args());
    let out = within.current_dir(&corner.world.dir).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Done { code: out.status.code().unwrap_or(-1), out: text(&out.stdout), err: text(&out.stderr) }
}

/// From nothing to nothing, through whatever runs the command.
fn lives(corner: &Corner, target: &str, run: impl Fn(&str) -> Done) {
    let expect = |code: i32, words: &str| {
        let done = run(&format!("{words} --target {target}"));
        assert_eq!(done.code, code, "{words}: {}{}", done.out, done.err);
        done
    };
    expect(2, "plan stack.yaml");
    expect(0, "apply stack.yaml --yes");
    expect(0, "plan stack.yaml");
    assert_eq!(expect(0, "logs stack.yaml").out.trim(), "web.0 | up");
    let exec = |words: &str| {
        let done = run(&format!("exec stack.yaml web --target {target} -- {words}"));
        (done.code, done.out)
    };
    assert_eq!((exec("cat /page"), exec("false").0), ((0, "hello".to_owned()), 1));
    expect(0, "destroy stack.yaml --yes");
    assert!(corner.marked(&windflow_bed::docker()).is_empty());
}

/// What whoever is not let in is told; and nothing was made.
fn told(corner: &Corner, done: &Done, wanted: [&str; 2]) {
    assert_eq!(done.code, 69, "{}{}", done.out, done.err);
    assert!(wanted.iter().all(|text| done.err.contains(text)), "{wanted:?}: {}", done.err);
    assert!(corner.marked(&windflow_bed::docker()).is_empty());
}

#[test]
fn behind_certificates_a_stack_lives_as_on_a_socket_and_whoever_is_not_let_in_is_told() {
    let corner = corner(&doors());
    lives(&corner, "known", |args| corner.world.run(args));
    for (target, wanted) in [
        ("unsigned", ["UnknownCA", "does not let this certificate in"]),
        ("expired", ["CertificateExpired", "does not let this certificate in"]),
        ("elsewhere", ["UnknownIssuer", "must be signed by `ca.pem`"]),
        ("plain", ["reaching tcp://", "is the engine running"]),
    ] {
        told(&corner, &corner.world.run(&format!("apply stack.yaml --yes --target {target}")), wanted);
    }
}

#[test]
fn through_ssh_a_stack_lives_as_on_a_socket_and_whoever_is_not_let_in_is_told() {
    let doors = doors();
    let corner = corner(&doors);
    let known = fs::read_to_string(doors.folder.join("ssh/known_hosts")).unwrap();
    lives(&corner, "far", |args| knowing(&corner, &known, args));
    let apply =
        |known: &str, target: &str| knowing(&corner, known, &format!("apply stack.yaml --yes --target {target}"));
    told(&corner, &apply(&known, "stranger"), ["Permission denied (publickey)", "`ssh_key` names another key"]);
    told(&corner, &apply("", "far"), ["Host key verification failed", "compare the key"]);
    told(&corner, &apply(&known, "away"), ["Connection refused", "does `ssh HOST docker version` work?"]);
}
