//! The container image, as far as its recipe tells. `tests/packages/container` builds and runs it.

use super::{file, read};

/// The recipe's instructions, continued lines as one.
fn instructions() -> Vec<(String, String)> {
    let text = read("container/Containerfile").replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, rest)| (name.to_owned(), rest.trim().to_owned()))
        .collect()
}

/// What the instructions of a name say.
fn values(name: &str) -> Vec<String> {
    let named = instructions().into_iter().filter(|(own, _)| own == name);
    named.map(|(_, value)| value).collect()
}

#[test]
fn the_image_holds_the_program_and_no_tools() {
    assert_eq!(values("FROM"), ["scratch"]);
    for missing in ["ADD", "RUN", "VOLUME", "HEALTHCHECK", "ARG"] {
        assert_eq!(values(missing), [] as [String; 0], "{missing}");
    }
    assert_eq!(values("ENTRYPOINT"), [r#"["/usr/bin/coppice-gateway"]"#]);
    assert_eq!(values("CMD"), [r#"["serve"]"#]);
}

#[test]
fn the_image_is_not_roots() {
    let [user] = &values("USER")[..] else { panic!("not one USER") };
    let (user, group) = user.split_once(':').unwrap();
    assert!(user.parse::<u32>().unwrap() > 0 && group.parse::<u32>().unwrap() > 0);
}

#[test]
fn the_image_listens_where_it_says() {
    let ports = values("EXPOSE").join(" ");
    assert_eq!(ports, "3000 9090");
    let environment = values("ENV").join(" ");
    for port in ports.split(' ') {
        assert!(environment.contains(&format!("=0.0.0.0:{port}")), "{environment}");
    }
}

#[test]
fn the_image_is_made_of_what_a_release_holds() {
    let release = file("config/release/build");
    for copied in values("COPY") {
        let mut sources: Vec<&str> = copied.split_whitespace().collect();
        sources.pop();
        for source in sources {
            assert!(release.contains(source), "{source}");
        }
    }
}
