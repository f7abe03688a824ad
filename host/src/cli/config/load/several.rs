//! Configurations with several apps, and what is told of settings.

use super::super::settings::Origin;
use super::tests::{error, folder_with, load, variables};
use super::*;
use crate::calls::AllowList;

const SEVERAL: &str = "
limits: {steps: 5}
apps:
  greeting:
    wasm: build/greeting.wasm
    env: {KEY: '${KEY}'}
  orders:
    wasm: build/orders.wasm
    migrations: sql
    database:
      role: clerk
    outbound: {allow: ['https://bank.example.com']}
";

fn names(config: &Config) -> Vec<&str> {
    config.apps.iter().map(|app| app.name().expect("a name").as_str()).collect()
}

#[test]
fn several_apps_have_settings_of_their_own() {
    let folder = folder_with(SEVERAL);
    let config = Config::load_from(folder.path(), Overrides::default(), &variables).expect("a configuration");
    assert_eq!(names(&config), ["greeting", "orders"]);
    assert_eq!(config.limits.steps.get(), 5);
    let [greeting, orders] = &config.apps[..] else { panic!("two apps") };
    assert_eq!(greeting.env.get("KEY").map(Secret::expose), Some("0d5b2c"));
    assert_eq!(greeting.migrations, folder.path().join("greeting/migrations"));
    assert_eq!(greeting.sql_login, SqlLogin::Own(None));
    assert_eq!(orders.wasm(), Ok(folder.path().join("build/orders.wasm").as_path()));
    assert_eq!(orders.migrations, folder.path().join("sql"));
    assert!(orders.env.is_empty() && greeting.outbound == AllowList::default());
    assert_eq!(orders.sql_login, SqlLogin::Own(Some("clerk".parse().expect("a role"))));
}

#[test]
fn a_component_on_the_command_line_is_that_of_the_app_that_is_named() {
    let folder = folder_with(SEVERAL);
    let load = |wasm: &str, app: Option<&str>| {
        let app = app.map(|name| AppName::parse(name).expect("a name"));
        let overrides = Overrides { wasm: Some(wasm.into()), app, ..Overrides::default() };
        Config::load_from(folder.path(), overrides, &variables)
    };
    let config = load("new.wasm", Some("orders")).expect("a configuration");
    assert_eq!(config.apps[0].wasm(), Ok(folder.path().join("build/greeting.wasm").as_path()));
    assert_eq!(config.apps[1].wasm(), Ok(folder.path().join("new.wasm").as_path()));
    assert_eq!(
        load("new.wasm", Some("other")).expect_err("no such app").to_string(),
        "`dbos-config.yaml`: there is no app `other` in `apps`\nhint: there are `greeting`, `orders`"
    );
    assert_eq!(
        load("new.wasm", None).expect_err("whose is it?").to_string(),
        "`dbos-config.yaml`: a component is given, and the configuration has several apps\n\
         hint: leave it out to take the components that `apps` names, or say with `deploy --app NAME` whose it is: \
         `greeting`, `orders`"
    );
}

#[test]
fn a_name_on_the_command_line_is_that_of_the_only_app() {
    let load = |source: &str| {
        let app = Some(AppName::parse("shop").expect("a name"));
        let overrides = Overrides { wasm: Some("shop-2.wasm".into()), app, ..Overrides::default() };
        Config::load_from(folder_with(source).path(), overrides, &variables)
    };
    assert_eq!(names(&load("").expect("a configuration")), ["shop"]);
    assert_eq!(names(&load("name: shop").expect("a configuration")), ["shop"]);
    assert_eq!(
        load("name: other").expect_err("another app").to_string(),
        "`dbos-config.yaml` line 1: there is no app `shop`, only `other`"
    );
}

#[test]
fn errors_in_one_of_several_apps_name_it() {
    let cases = [
        ("apps: {}\n", " line 1: `apps` has none\nhint: leave the key out for one app"),
        (
            "apps:\n  - wasm: a\n",
            " line 1: `apps` must be names of apps\n\
             hint: write each as `NAME:` with its keys, `wasm` and others, in the lines below",
        ),
        ("apps:\n  a: x.wasm\n", " line 2: `apps.a` must hold further keys\nhint: the least is `wasm`"),
        ("apps:\n  a:\n    wsm: x\n", " line 3: the key `apps.a.wsm` is unknown\nhint: did you mean `apps.a.wasm`?"),
        (
            "apps:\n  a:\n    name: b\n",
            " line 3: the key `apps.a.name` is unknown\nhint: the app's name is the key that its settings stand below",
        ),
        (
            "apps:\n  a:\n    limits: {steps: 1}\n",
            " line 3: the key `apps.a.limits` is unknown\n\
             hint: `limits` is for the whole host; write it at the top of the file",
        ),
        (
            "apps:\n  a:\n    wasm: x\nenv: {A: b}\n",
            " line 4: `env` is for the only app, and `apps` in line 1 names apps\n\
             hint: write it below the name of the app that it is for: `apps.NAME.env`",
        ),
        (
            "name: a\napps:\n  a:\n    wasm: x\n",
            " line 1: `name` is for the only app, and `apps` in line 2 names apps\n\
             hint: leave it out; with `apps`, the key that an app's settings stand below is its name",
        ),
        (
            "apps:\n  a: {database: {role: r}}\n  b: {database: {role: r}}\n",
            " line 3: `apps.b.database.role` is that of `a`\n\
             hint: an app with the role of another can read and change all that the other can; give each its own",
        ),
        (
            "apps:\n  a: {database: {role: r, trusted: true}}\n",
            " line 2: `apps.a.database.trusted` and `apps.a.database.role` contradict each other\n\
             hint: a trusted app uses the login of the host; leave one of the two out",
        ),
        ("apps:\n  9a: {wasm: x}\n", " line 2: `9a` cannot be the name of an app: it must start with a letter or `_`"),
        ("apps:\n  a: {}\n  a: {}\n", " line 3: the key `a` stands twice"),
        (
            "apps:\n  a:\n    env: {B: '${NONE}'}\n",
            " line 3: `apps.a.env.B` uses the environment variable `NONE`, which is not set\nhint: set it, or write `${NONE:-default}`",
        ),
    ];
    for (source, text) in cases {
        assert_eq!(error(source), format!("`dbos-config.yaml`{text}"));
    }
    let many: String = (0..=MAX_APPS).map(|n| format!("  a{n}: {{}}\n")).collect();
    assert!(error(&format!("apps:\n{many}")).contains("`apps` has 33; the most is 32"));
    let beside = error("apps:\n  a: {database: {trusted: true}}\n  b:\n");
    assert!(beside.contains("`apps.a.database.trusted` is set beside `b`, which is not trusted"), "{beside}");
    let config = load("apps:\n  a: {database: {trusted: true}}\n  b: {database: {trusted: true}}\n");
    let config = config.expect("a configuration");
    let warnings = config.warnings();
    assert!(warnings.len() == 2 && warnings[0].starts_with("`apps.a.database.trusted` is set"), "{warnings:?}");
    assert_eq!(
        config.apps[1].wasm().expect_err("no component").to_string(),
        "the app `b` has no component\nhint: name the .wasm file as `apps.b.wasm`"
    );
}

#[test]
fn settings_are_told_as_they_are_written_and_secrets_not() {
    let folder = folder_with(
        "database_url: postgres://u:sesame@db/app\nlimits: {steps: '${STEPS:-5}'}\napps:\n  shop:\n    wasm: a.wasm\n    \
         env: {A: '${KEY}', B: sesame, C: '${KEY}-sesame', D: '${D:-sesame}'}\n    outbound: {allow: ['https://a', 'https://b']}\n",
    );
    let overrides = Overrides { listen: Some(([0, 0, 0, 0], 80).into()), ..Overrides::default() };
    let config = Config::load_from(folder.path(), overrides, &variables).expect("a configuration");
    let told = |key: &str| {
        let setting = config.settings.iter().find(|setting| setting.key == key).unwrap_or_else(|| panic!("no {key}"));
        (setting.value.as_str(), setting.from)
    };
    assert_eq!(told("database_url"), ("…", Origin::Line(1)));
    assert_eq!(told("limits.steps"), ("${STEPS:-5}", Origin::Line(2)));
    assert_eq!(told("limits.workflows"), ("64", Origin::Default));
    assert_eq!(told("http.listen"), ("0.0.0.0:80", Origin::Override));
    assert_eq!(told("apps.shop.wasm"), ("a.wasm", Origin::Line(5)));
    assert_eq!(told("apps.shop.env.A"), ("${KEY}", Origin::Line(6)));
    assert_eq!(["B", "C", "D"].map(|name| told(&format!("apps.shop.env.{name}")).0), ["…"; 3]);
    assert_eq!(told("apps.shop.outbound.allow"), ("https://a, https://b", Origin::Line(7)));
    assert!(config.settings.iter().all(|setting| setting.key != "wasm"), "there is no app at the top");
    assert!(!format!("{config:?}").contains("sesame"));
}
