//! Tasks and quizzes, judged by what the kernel says of real labs: by whatever means a learner brings a thing about, and never
//! by what they type.

use std::time::Instant;

use newroot::checks::{Check, Hint};
use newroot::lab::Handle;
use newroot::lessons::Choice;
use nix::sys::signal::Signal;
use shared::protocol::ToLab;
use shared::task::{Answer, Grade, TaskState};

use crate::common;
use crate::common::playground::{CONTAINER, HOST, Page, Playground};

fn task(id: &str, when: &str) -> Check {
    Check { id: id.into(), when: when.into(), hints: Vec::new(), files: Vec::new(), options: Vec::new() }
}

fn task_about_files(id: &str, when: &str, files: &[&str]) -> Check {
    Check { files: files.iter().map(|&file| file.into()).collect(), ..task(id, when) }
}

/// The only lab of a playground.
async fn lab(playground: &Playground) -> Handle {
    let ids = Handle::ids(&playground.labs());
    assert_eq!(ids.len(), 1);
    Handle::find(&playground.keeper(), ids[0]).await.unwrap()
}

/// Gives the lab these checks, as a server does whose lessons have changed, and waits until the page knows them.
async fn ask(playground: &Playground, page: &mut Page, checks: &[Check]) {
    // What the server itself asks is told once; told later, it would take the place of these.
    let shipped = Choice::embedded().unwrap().checks(false);
    page.until("the server's own tasks", |page| shipped.iter().all(|check| page.tasks.contains_key(&check.id))).await;
    lab(playground).await.set_checks(checks).await.unwrap();
    page.until("the tasks", |page| checks.iter().all(|check| page.tasks.contains_key(&check.id))).await;
}

/// A page on a new lab with these checks.
async fn open(playground: &Playground, checks: &[Check]) -> Page {
    let mut page = playground.open(&playground.new_cookie()).await;
    page.until("the host's view", |page| page.views.values().any(|(view, _)| view.processes.len() >= 3)).await;
    ask(playground, &mut page, checks).await;
    page
}

fn is_done(page: &Page, id: &str) -> bool {
    page.tasks.get(id).is_some_and(|task| task.done)
}

async fn until_done(page: &mut Page, id: &str) {
    page.until(&format!("task {id}"), |page| is_done(page, id)).await;
}

/// Has the lab look now: the state of each task is then about what was done before.
async fn look(playground: &Playground) -> (serde_json::Value, Vec<TaskState>) {
    let look = lab(playground).await.look().await.unwrap();
    (look.facts.map_or(serde_json::Value::Null, |facts| serde_json::from_str(&facts).unwrap()), look.tasks)
}

async fn assert_not_done(playground: &Playground, id: &str) {
    let (facts, tasks) = look(playground).await;
    let state = tasks.iter().find(|task| task.id == id).unwrap();
    assert!(!state.done, "{id} is done with {facts:#}");
}

const OWN_TMPFS: &str = r#"views.exists(v, !v.host && v.rows.exists(r, r.point == "/mnt" && r.type == "tmpfs"))
  && !machine.rows.exists(r, r.point == "/mnt")"#;

#[tokio::test]
async fn a_task_is_done_by_its_effect_and_not_by_its_words() {
    let playground = Playground::start(None);
    let mut page = open(&playground, &[task("own", OWN_TMPFS)]).await;
    page.output_of(HOST, "echo mount -t tmpfs tmpfs /mnt; echo unshare --mount").await;
    page.output_of(HOST, "mount -t tmpfs tmpfs /mnt").await;
    assert_not_done(&playground, "own").await;
    page.output_of(HOST, "umount /mnt").await;
    assert_not_done(&playground, "own").await;
    page.run(HOST, "unshare -m sh").await;
    page.run(HOST, "mount -t tmpfs tmpfs /mnt").await;
    until_done(&mut page, "own").await;
    // It stays so, whatever becomes of the machine.
    page.run(HOST, "exit").await;
    page.output_of(HOST, "mount -t tmpfs tmpfs /mnt").await;
    let (facts, tasks) = look(&playground).await;
    assert_eq!(facts["views"].as_array().unwrap().len(), 1);
    assert!(tasks[0].done);
}

#[tokio::test]
async fn any_way_that_leads_there_counts() {
    let playground = Playground::start(None);
    // By nsenter, into the namespace of a process in the background; and by a loop that finds out where.
    for way in [
        "unshare -m sleep 1000 & until [ $(readlink /proc/$!/ns/mnt) != $(readlink /proc/$$/ns/mnt) ]; do true; done; nsenter -t $! -m mount -t tmpfs tmpfs /mnt",
        "for place in /tmp /mnt; do unshare -m sh -c \"mount -t tmpfs tmpfs $place; sleep 1000\" & done",
        "newroot run busybox /bin/sh -c 'mkdir -p /mnt; mount -t tmpfs tmpfs /mnt; sleep 1000' & true",
    ] {
        let cookie = playground.new_cookie();
        let mut page = playground.open(&cookie).await;
        ask(&playground, &mut page, &[task("own", OWN_TMPFS)]).await;
        page.run(HOST, way).await;
        until_done(&mut page, "own").await;
        playground.end_lab(&cookie);
    }
}

#[tokio::test]
async fn each_fact_follows_the_kernel() {
    let shell = |terminal: &str| {
        format!(r#"processes.exists(p, p.terminal == "{terminal}" && p.parent == 1 && p.program == "sh""#)
    };
    // What is true or not, what makes it true, and what makes it untrue again.
    let facts: Vec<(&str, String, &str, &str)> = vec![
        ("cwd", shell("host") + r#" && p.cwd == "/tmp")"#, "cd /tmp", "cd /"),
        ("hostname", r#"processes.exists(p, p.hostname == "other" && p.namespaces.uts != namespaces.uts)"#.into(), "unshare --uts sh -c 'hostname other; exec sleep 1000' & true", "kill $!"),
        ("pid", "processes.exists(p, p.namespaces.pid != namespaces.pid && p.program == 'sleep')".into(), "unshare --pid --fork sleep 1000 & true", "kill -9 $(pidof sleep); wait"),
        ("root", "processes.exists(p, p.root == '/tmp/r' && p.cwd == '/tmp/r')".into(), "mkdir -p /tmp/r/bin; cp /bin/busybox /tmp/r/bin; chroot /tmp/r /bin/busybox sleep 1000 & true", "kill $!"),
        ("arguments", "processes.exists(p, p.arguments == ['sleep', '1234'])".into(), "sleep 1234 & true", "kill $!"),
        ("capabilities", "processes.exists(p, p.program == 'sleep' && p.capabilities == []) && processes.exists(p, 'CAP_SYS_ADMIN' in p.capabilities)"
                .into(),
            "echo u:x:1000:1000::/:/bin/sh >>/etc/passwd; su u -c 'exec sleep 1000' & true",
            "kill $(pidof sleep)"),
        ("shared", "machine.rows.exists(r, r.point == '/tmp/s' && r.propagation == 'shared' && r.shared > 0)".into(), "mkdir /tmp/s; mount -t tmpfs x /tmp/s; mount --make-shared /tmp/s", "mount --make-private /tmp/s"),
        ("read-only", "machine.rows.exists(r, r.point == '/tmp/s' && 'ro' in r.options && r.source == 'x')".into(), "mount -o remount,ro,bind /tmp/s", "umount /tmp/s"),
        ("hidden", "machine.rows.exists(r, r.point == '/tmp/h' && r.hidden)".into(), "mkdir /tmp/h; mount -t tmpfs x /tmp/h; mount -t tmpfs y /tmp/h", "umount /tmp/h"),
        ("digest", "files['/tmp/f'].digest == 'sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824'".into(), "printf hello >/tmp/f", "printf jello >/tmp/f"),
        ("mode", "files['/tmp/f'].exists && files['/tmp/f'].type == 'file' && files['/tmp/f'].mode == 420 && files['/tmp/f'].size == 5".into(), "true", "chmod 600 /tmp/f"),
        ("target", "files['/tmp/l'].type == 'symlink' && files['/tmp/l'].target == '/proc/self/exe'".into(), "ln -s /proc/self/exe /tmp/l", "rm /tmp/l"),
        ("image", "images.exists(i, i.name == 'busybox' && i.layers == 1 && i.digest.startsWith('sha256:'))".into(), "newroot pull busybox >/dev/null", "rm -rf /fs/busybox"),
    ];
    let check = |id: &str, when: &str| task_about_files(id, when, &["/tmp/f", "/tmp/l", "/tmp/none"]);
    let playground = Playground::start(None);
    let mut page = open(&playground, &[]).await;
    for (name, when, on, off) in &facts {
        let (before, during, after) = (format!("{name}-before"), format!("{name}-during"), format!("{name}-after"));
        ask(&playground, &mut page, &[check(&before, when)]).await;
        if *on != "true" {
            assert_not_done(&playground, &before).await;
        }
        page.output_of(HOST, on).await;
        ask(&playground, &mut page, &[check(&during, when)]).await;
        until_done(&mut page, &during).await;
        page.output_of(HOST, off).await;
        ask(&playground, &mut page, &[check(&after, &format!("!({when})"))]).await;
        until_done(&mut page, &after).await;
    }
    let (facts, _) = look(&playground).await;
    assert_eq!(facts["files"]["/tmp/none"]["exists"], false);
    assert_eq!(facts["machine"], facts["views"][0]);
    assert_eq!(facts["machine"]["host"], true);
    assert_eq!(facts["processes"][0]["pid"], 1);
    assert_eq!(facts["processes"][0]["namespaces"], facts["namespaces"]);
}

#[tokio::test]
async fn whoever_breaks_out_of_a_chroot_is_outside() {
    let playground = Playground::start(None);
    let mut page = open(&playground, &[task("out", "processes.exists(p, p.outside && p.root != '/')")]).await;
    let jail = "mkdir -p /tmp/jail/bin; cp /bin/busybox /tmp/jail/bin; chroot /tmp/jail /bin/busybox sleep 1000 & until [ $(readlink /proc/$!/root) = /tmp/jail ]; do true; done";
    page.output_of(HOST, jail).await;
    assert_not_done(&playground, "out").await;
    // nsenter(1) changes the root and comes back to where it was, as the escape in chroot(2) does.
    page.run(HOST, "cd /; nsenter -t $! -r /bin/busybox sleep 1000").await;
    until_done(&mut page, "out").await;
}

#[tokio::test]
async fn hints_show_while_they_fit_and_the_task_is_not_done() {
    let hint = Hint { when: "machine.rows.exists(r, r.point == '/mnt')".into(), html: "<p>unshare first</p>".into() };
    let playground = Playground::start(None);
    let mut page = open(&playground, &[Check { hints: vec![hint], ..task("own", OWN_TMPFS) }]).await;
    assert_eq!(page.tasks["own"].hints, [] as [String; 0]);
    page.output_of(HOST, "mount -t tmpfs tmpfs /mnt").await;
    page.until("the hint", |page| page.tasks["own"].hints == ["<p>unshare first</p>"]).await;
    page.output_of(HOST, "umount /mnt").await;
    page.until("the hint to go", |page| page.tasks["own"].hints.is_empty()).await;
    page.run(CONTAINER, "unshare -m sh -c 'mount -t tmpfs x /mnt; sleep 1000'").await;
    until_done(&mut page, "own").await;
    page.output_of(HOST, "mount -t tmpfs tmpfs /mnt").await;
    let (_, tasks) = look(&playground).await;
    assert_eq!(tasks[0].hints, [] as [String; 0], "who is done needs none");
}

fn quiz(id: &str) -> Check {
    let option = |condition: &str| condition.to_owned();
    Check {
        options: vec![
            option("machine.rows.exists(r, r.point == '/mnt')"),
            option("views.exists(v, !v.host && v.rows.exists(r, r.point == '/mnt'))"),
        ],
        ..task(id, "views.exists(v, v.rows.exists(r, r.point == '/mnt'))")
    }
}

async fn choose(page: &mut Page, quiz: &str, options: &[u32]) -> Answer {
    let answer = Answer::Chosen { options: options.to_vec() };
    page.tell(&ToLab::Answer { quiz: quiz.into(), answer: answer.clone() }).await;
    answer
}

#[tokio::test]
async fn a_prediction_is_graded_against_the_machines_own_tables() {
    let playground = Playground::start(None);
    let mut page = open(&playground, &[quiz("right"), quiz("wrong"), quiz("late"), quiz("never")]).await;
    for (quiz, options) in [("right", vec![]), ("right", vec![2]), ("right", vec![1, 0]), ("none", vec![0])] {
        choose(&mut page, quiz, &options).await;
    }
    // A mind may be changed, until the machine has told.
    choose(&mut page, "right", &[0]).await;
    let right = choose(&mut page, "right", &[1]).await;
    let wrong = choose(&mut page, "wrong", &[0]).await;
    let predicted = Some(Grade::Predicted { answer: right.clone() });
    page.until("the prediction", |page| page.tasks["right"].grade == predicted).await;
    let (_, tasks) = look(&playground).await;
    assert!(tasks.iter().all(|task| !task.done));
    page.run(CONTAINER, "unshare -m sh -c 'mount -t tmpfs x /mnt; sleep 1000'").await;
    let told = |answer: &Answer| Some(Grade::Told { answer: answer.clone(), truth: vec![1] });
    let (right, wrong) = (told(&right), told(&wrong));
    page.until("the grades", |page| page.tasks["right"].grade == right && page.tasks["wrong"].grade == wrong).await;
    assert!(is_done(&page, "right") && is_done(&page, "wrong") && !is_done(&page, "never"));
    // Who answers when it is plain to see is graded at once, and nobody answers twice.
    let late = told(&choose(&mut page, "late", &[1]).await);
    page.until("the late grade", |page| page.tasks["late"].grade == late).await;
    choose(&mut page, "wrong", &[1]).await;
    let (_, tasks) = look(&playground).await;
    assert_eq!(tasks.iter().find(|task| task.id == "wrong").unwrap().grade, wrong);
}

#[tokio::test]
async fn progress_outlives_reload_reset_the_lab_and_the_server() {
    let mut playground = Playground::start(None);
    let cookie = playground.new_cookie();
    let checks = [
        task("own", OWN_TMPFS),
        quiz("quiz"),
        task("never", "false"),
        task("later", "machine.rows.exists(r, r.point == '/media')"),
    ];
    let mut page = playground.open(&cookie).await;
    ask(&playground, &mut page, &checks).await;
    let answer = choose(&mut page, "quiz", &[0]).await;
    page.run(CONTAINER, "unshare -m sh -c 'mount -t tmpfs x /mnt; sleep 1000'").await;
    until_done(&mut page, "own").await;
    let grade = Some(Grade::Told { answer, truth: vec![1] });
    page.until("the grade", |page| page.tasks["quiz"].grade == grade).await;
    let as_before =
        |page: &Page| is_done(page, "own") && page.tasks["quiz"].grade == grade && !page.tasks["never"].done;

    let mut page = playground.connect(&cookie, None, vec![]).await;
    page.until("the same after a reload", as_before).await;
    page.tell(&ToLab::Reset).await;
    page.until("a reset", |page| page.text_since(HOST, 0).contains("was reset")).await;
    let (_, tasks) = look(&playground).await;
    assert!(tasks[0].done && tasks[1].grade == grade);

    // Killed with a lab that holds all of it and goes on; what is done without a server is told to the next.
    playground.restart_after(Signal::SIGKILL);
    page.until("a prompt", |page| page.has_prompt(HOST)).await;
    let mut page = playground.open(&cookie).await;
    ask(&playground, &mut page, &checks).await;
    page.until("the same with a new server", as_before).await;
    page.output_of(HOST, "mkdir /media; mount -t tmpfs x /media").await;
    until_done(&mut page, "later").await;

    let file = playground.state().join("progress").join(format!("{}.json", Handle::ids(&playground.labs())[0]));
    while !std::fs::read_to_string(&file).unwrap_or_default().contains("later") {
        tokio::task::yield_now().await;
    }
    playground.end_lab(&cookie);
    playground.restart_after(Signal::SIGKILL);
    let mut page = playground.open(&cookie).await;
    ask(&playground, &mut page, &checks).await;
    page.until("the same in a new lab", |page| as_before(page) && is_done(page, "later")).await;
    let other = playground.new_cookie();
    let stranger = playground.open(&other).await;
    assert!(stranger.tasks.values().all(|task| !task.done), "it is one learner's");
}

#[tokio::test]
async fn a_hostile_lab_is_not_judged_and_its_terminals_answer() {
    let playground = Playground::start_with(&["--upstream", common::playground::NO_UPSTREAM, "--lab-pids", "2048"]);
    let absent = "!views.exists(v, v.rows.exists(r, machine.rows.exists(m, m.id == r.id && m.point == '/never')))";
    let many: Vec<Check> = (0..50)
        .map(|n| task_about_files(&format!("t{n}"), &format!("{absent} && {n} < 0"), &["/giant", "/tmp/name"]))
        .collect();
    let mut page = open(&playground, &[]).await;
    page.output_of(HOST, "truncate -s 100G /giant; ln -s /giant /tmp/name").await;
    let storms = [
        ("nothing", "true"),
        (
            "3000 mounts",
            "mkdir /m; mount -t tmpfs x /m; i=0; while [ $i -lt 375 ]; do mkdir /m/$i; mount -t tmpfs x /m/$i; i=$((i+1)); done; \
          for n in 1 2 3 4 5 6 7; do mkdir /n$n; mount --rbind /m /n$n; done",
        ),
        ("10000 mounts", "for n in $(seq 8 28); do mkdir /n$n; mount --rbind /m /n$n; done"),
        (
            "400 processes with huge arguments",
            "umount -l /n*; umount -l /m; mkfifo /p; i=0; a=$(head -c 100000 /dev/zero | tr '\\0' x); \
          while [ $i -lt 400 ]; do sh -c 'read x </p' $a & i=$((i+1)); done >/dev/null 2>&1",
        ),
        ("800 processes", "while [ $i -lt 800 ]; do ( read x </p ) & i=$((i+1)); done >/dev/null 2>&1"),
    ];
    for (what, storm) in storms {
        page.output_of(HOST, storm).await;
        ask(&playground, &mut page, &[]).await;
        lab(&playground).await.set_checks(&many).await.unwrap();
        let began = Instant::now();
        let (facts, _) = look(&playground).await;
        let took = began.elapsed();
        let began = Instant::now();
        page.output_of(CONTAINER, "true").await;
        println!(
            "{what}: a look takes {took:?} (facts: {}), a command meanwhile {:?}",
            !facts.is_null(),
            began.elapsed()
        );
        assert!(!page.tasks.values().any(|task| task.done));
        assert_eq!(facts.is_null(), what.starts_with("10000") || what.starts_with("800"), "{what}");
    }
}
