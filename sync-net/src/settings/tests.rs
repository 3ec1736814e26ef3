use super::*;

fn file(text: &str) -> Result<Resolved, Mistakes> {
    bytes(text.as_bytes())
}

fn bytes(bytes: &[u8]) -> Result<Resolved, Mistakes> {
    Layers { file: Some(File { name: "sync.toml", bytes }), ..Layers::default() }.resolve()
}

fn told(result: Result<Resolved, Mistakes>) -> Vec<String> {
    result.expect_err("there are mistakes").iter().map(|mistake| mistake.to_string()).collect()
}

fn variables(of: &[(&str, &str)]) -> Layers<'static> {
    let environment = of.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Layers { environment, ..Layers::default() }
}

#[test]
fn the_later_layer_is_the_stronger_and_each_value_says_where_it_came_from() {
    let text = b"max_crdts = 1\nmax_peers = 1\nmax_queue_size = 1\n";
    let layers = Layers {
        file: Some(File { name: "sync.toml", bytes: text }),
        environment: vec![
            ("SYNC_MAX_PEERS".into(), "2".into()),
            ("SYNC_MAX_QUEUE_SIZE".into(), "2".into()),
            ("SYNC_CONFIG".into(), "elsewhere.toml".into()),
            ("SYNC_LOG".into(), "".into()),
            ("OTHER".into(), "2".into()),
        ],
        flags: vec![("max_queue_size", vec!["3".to_owned()])],
    };
    let resolved = layers.resolve().unwrap();
    let limits = &resolved.settings.limits;
    assert_eq!((limits.crdts_max, limits.peers_max, limits.outbox_frames_max), (1, 2, 3));
    let of = |key| resolved.origin(key).to_string();
    assert_eq!(of("max_crdts"), "sync.toml:1");
    assert_eq!(of("max_peers"), "SYNC_MAX_PEERS");
    assert_eq!(of("max_queue_size"), "--max-queue-size");
    assert_eq!([of("log"), of("max_bytes")], ["default", "default"]);
}

#[test]
fn the_product_s_figures_are_the_defaults() {
    let shown = |key: &str| setting(key).unwrap().get(&Settings::default()).to_string();
    for (key, value) in [
        ("max_crdts", "10000"),
        ("max_peers", "100"),
        ("max_message_size", "1MB"),
        ("max_queue_size", "1000"),
        ("sync_interval", "30s"),
        ("sync_timeout", "5s"),
        ("breaker_failures", "3"),
        ("breaker_open", "1m"),
        ("cleanup_interval", "1m"),
    ] {
        assert_eq!(shown(key), value, "{key}");
    }
}

#[test]
fn every_setting_is_well_formed_and_its_default_is_one_of_its_values() {
    for (at, setting) in SETTINGS.iter().enumerate() {
        assert!(SETTINGS.iter().skip(at + 1).all(|other| other.key != setting.key), "{}", setting.key);
        assert!(setting.key.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{}", setting.key);
        assert!(setting.about.ends_with('.') && (setting.edge.is_empty() || setting.edge.ends_with('.')));
        let value = setting.get(&Settings::default());
        let line = match setting.example {
            "" => format!("{} = {}", setting.key, value.toml()),
            example if example.starts_with('[') => format!("{} = {example}", setting.key),
            example => format!("{} = {example:?}", setting.key),
        };
        let resolved = file(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        if setting.example.is_empty() {
            assert_eq!(resolved.settings, Settings::default(), "{line}");
        }
        let groups = SETTINGS.iter().map(|setting| setting.group);
        assert!(groups.is_sorted(), "groups stand together");
    }
}

#[test]
fn every_mistake_of_a_file_is_told_at_once_with_its_line() {
    let text = "max_crdt = 5\n\
                max_peers = \"many\"\n\
                sync_interval = 30\n\
                # fine\n\
                max_bytes = \"64MB\"\n\
                crdts_max = 7\n\
                memory = 1\n\
                listen = \"here\"\n\
                peers = [\"a:1\", \"b\"]\n\
                max_queue_size = \n\
                [limits]\n\
                wholly_else = 1\n";
    let told = told(file(text));
    let begins = [
        "sync.toml:1: no setting is named \"max_crdt\"; did you mean max_crdts?",
        "sync.toml:2: max_peers is \"many\", and must be a whole number from 1 to 10000",
        "sync.toml:3: sync_interval is 30, and must be a time from 100ms to 1d, such as 30s, 200ms or 5m",
        "sync.toml:6: no setting is named \"crdts_max\"; did you mean max_crdts?",
        "sync.toml:7: memory is 1, and must be true or false",
        "sync.toml:8: listen: \"here\" is no IP address and port, such as 10.0.0.1:7000 or [::]:7000",
        "sync.toml:9: peers: peer \"b\": the port is missing; write host:port or",
        "sync.toml:10: this is no TOML: ",
        "sync.toml:11: \"limits\" is a section, and settings stand at the top of the file, without sections",
    ];
    assert_eq!(told.len(), begins.len(), "{told:#?}");
    for (told, begin) in told.iter().zip(begins) {
        assert!(told.starts_with(begin), "{told}\n{begin}");
    }
}

#[test]
fn unknown_variables_and_flags_are_refused_with_the_nearest_name() {
    let told = told(
        variables(&[
            ("SYNC_MAX_CRDT", "5"),
            ("SYNC_ZZZ", "1"),
            ("SYNC_max_peers", "1"),
            ("SYNC_MEMORY", "yes"),
        ])
        .resolve(),
    );
    assert_eq!(told[0], "SYNC_MAX_CRDT: no setting has this variable; did you mean SYNC_MAX_CRDTS?");
    assert_eq!(told[1], "SYNC_ZZZ: no setting has this variable; `sync-cli config default` lists them");
    assert_eq!(told[2], "SYNC_max_peers: no setting has this variable; did you mean SYNC_MAX_PEERS?");
    assert_eq!(told[3], "SYNC_MEMORY: memory is \"yes\", and must be true or false");
    let flags = vec![("max_peers", vec!["0".to_owned()])];
    let refused = Layers { flags, ..Layers::default() }.resolve().unwrap_err().to_string();
    assert_eq!(refused, "--max-peers: max_peers is \"0\", and must be a whole number from 1 to 10000");
}

#[test]
fn a_wrong_value_is_a_mistake_also_where_a_stronger_one_hides_it() {
    let flags = vec![("max_peers", vec!["5".to_owned()])];
    let layers =
        Layers { file: Some(File { name: "f", bytes: b"max_peers = 0" }), flags, ..Layers::default() };
    assert_eq!(layers.resolve().unwrap_err().count(), 1);
}

#[test]
fn contradictions_are_refused_with_both_values_and_where_they_came_from() {
    let of = |text: &str| told(file(text)).join("\n");
    assert_eq!(
        of("max_message_size = \"200kB\""),
        "max_group_size (512KiB, default) must be below max_message_size (200kB, sync.toml:1): a group of writes travels in \
         one message"
    );
    assert!(
        of("max_bytes_ceiling = 5\nmax_bytes = 6")
            .contains("max_bytes (6B, sync.toml:2) must not be above max_bytes_ceiling (5B, sync.toml:1)")
    );
    assert!(of("breaker_open = \"1h\"").contains("must not be above breaker_open_max (10m, default)"));
    assert!(of("breaker_probe_max = \"10ms\"").contains("breaker_probe_min (1s, default) must not be above"));
    let both = of("memory = true\ndata = \"d\"\ndurability = \"none\"");
    assert!(
        both.contains("memory (true, sync.toml:1) and data")
            && both.contains("durability (none, sync.toml:3)"),
        "{both}"
    );
    let beside = told(file("max_message_size = \"tiny\""));
    assert_eq!(beside.len(), 1, "the default does not contradict what could not be read: {beside:?}");
}

#[test]
fn room_follows_max_bytes_unless_it_is_set() {
    let limits = file("max_bytes = \"1GiB\"\nmax_crdt_bytes = \"1MiB\"").unwrap().settings.limits;
    assert_eq!(
        (limits.store_bytes_ceiling, limits.crdt_bytes_max, limits.crdt_cells_max),
        (2 << 30, 1 << 20, 4 << 20)
    );
    assert_eq!(limits.staging_bytes_max, 4 << 30);
}

#[test]
fn bytes_of_any_kind_are_refused_and_never_panic() {
    assert_eq!(told(bytes(b"memory = false\n\xff")), ["sync.toml:2: is no UTF-8"]);
    let long = vec![b'#'; FILE_BYTES_MAX + 1];
    assert_eq!(
        told(bytes(&long)),
        ["sync.toml: 262145 bytes are more than the 262144 that a configuration file may have"]
    );
    let deep = format!("peers = {}", "[".repeat(10_000));
    assert!(!told(file(&deep)).is_empty());
    let many = "a=\n".repeat(20_000);
    let refused = file(&many).unwrap_err();
    assert!(refused.count() >= 20_000, "{}", refused.count());
    assert_eq!(refused.iter().count(), MISTAKES_MAX + 1);
    let long_key = format!("{} = 1", "k".repeat(100_000));
    assert!(told(file(&long_key))[0].len() < 200);
    let number = format!("max_crdts = {}", "9".repeat(1_000));
    assert_eq!(told(file(&number)).len(), 1);
    // A stride through small texts of what TOML is made of.
    let parts = [
        "max_crdts",
        "=",
        "1",
        "\n",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "#",
        ".",
        ",",
        "\0",
        "é",
        "0x",
        "1979-05-27",
        "peers",
        "\\",
    ];
    let mut n = 1_u64;
    for _ in 0..5_000 {
        let mut text = String::new();
        for _ in 0..8 {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(parts[usize::try_from(n >> 33).unwrap() % parts.len()]);
        }
        let _ = file(&text);
    }
}

#[test]
fn a_file_is_refused_by_its_size_before_it_is_read_and_must_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long.toml");
    // Without blocks on the disk: reading it would find a hole.
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let refused = read_file(&path).unwrap_err().to_string();
    assert!(refused.contains("1099511627776 bytes are more than the 262144"), "{refused}");
    assert!(read_file(dir.path()).unwrap_err().to_string().contains("is no regular file"));
    assert!(read_file(&dir.path().join("none")).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn the_default_file_holds_every_setting_and_says_nothing() {
    let page = default_file();
    assert_eq!(file(&page).unwrap(), Layers::default().resolve().unwrap(), "all of it is comments");
    assert!(page.lines().all(|line| line.chars().count() <= 110), "{page}");
    let is_setting = |line: &&str| {
        line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let active: Vec<&str> = page.lines().filter(is_setting).map(|line| &line[1..]).collect();
    assert_eq!(active.len(), SETTINGS.len());
    let resolved = file(&active.join("\n")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (&resolved.settings.limits, &resolved.settings.timing),
        (&Limits::default(), &Timing::default())
    );
}

#[test]
fn a_reload_takes_over_what_can_change_and_names_what_waits() {
    let mut settings = file("max_bytes = \"1MiB\"\nlog = \"debug\"").unwrap().settings;
    let wanted =
        file("max_bytes = \"2MiB\"\nmax_crdt_cells = 4096\ncluster = \"b\"\nmax_group_size = \"100KiB\"")
            .unwrap()
            .settings;
    let reloaded = Reloaded::take_over(&mut settings, &wanted);
    assert_eq!(
        reloaded.to_string(),
        "log debug -> -, max_bytes 1MiB -> 2MiB, max_bytes_ceiling 2MiB -> 4MiB, max_crdt_bytes 512KiB -> 1MiB, \
         max_staging_bytes 4MiB -> 8MiB; needs a restart: cluster default -> b, max_group_size 512KiB -> 100KiB"
    );
    assert_eq!(
        (settings.limits.crdt_cells_max, settings.limits.group_bytes_max),
        (4_096, 512 << 10),
        "what followed is put too"
    );
    assert_eq!((settings.cluster.as_str(), &settings.log), ("default", &None));
    let again = Reloaded::take_over(&mut settings, &wanted);
    assert_eq!((again.changed.len(), again.restart.len()), (0, 2));
}

#[test]
fn a_namespace_is_a_name_and_a_class() {
    let resolved = file("namespaces = [\"alarms=urgent\", \"a=b=bulk\"]").unwrap();
    let named = |name: &str, class| (name.to_owned(), class);
    assert_eq!(resolved.settings.namespaces, [named("alarms", Class::Urgent), named("a=b", Class::Bulk)]);
    let long = format!("namespaces = [\"{}=bulk\"]", "n".repeat(65));
    for (text, words) in [
        ("namespaces = [\"alarms\"]", "is not NAME=CLASS, such as alarms=urgent"),
        (
            "namespaces = [\"alarms=fast\"]",
            "\"fast\" is no class of namespaces; write urgent, normal or bulk",
        ),
        ("namespaces = [\"=bulk\"]", "0 bytes are no name of a namespace: it has 1 to 64"),
        (&long, "65 bytes are no name of a namespace: it has 1 to 64"),
    ] {
        let told = told(file(text));
        assert!(told.len() == 1 && told[0].contains(words), "{told:?}");
    }
}
