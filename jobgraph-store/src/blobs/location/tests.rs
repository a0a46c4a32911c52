#![allow(clippy::unwrap_used)]

use super::*;

fn bucket() -> BlobsArgs {
    BlobsArgs {
        location: Some("s3://payloads/of/one".parse().unwrap()),
        endpoint: Some("http://127.0.0.1:9000/".parse().unwrap()),
        access_key_id: Some("key".to_owned()),
        secret_access_key: Some("hidden".parse().unwrap()),
        ..BlobsArgs::default()
    }
}

fn refused(args: &BlobsArgs) -> String {
    format!("{:#}", args.target().unwrap_err())
}

#[test]
fn a_place_has_one_spelling() {
    for (text, spelling) in [
        ("file:///mnt/shared/mainspring", "file:///mnt/shared/mainspring"),
        ("file:///mnt/shared/", "file:///mnt/shared"),
        ("s3://payloads", "s3://payloads"),
        ("s3://payloads/", "s3://payloads"),
        ("s3://my.bucket-1/a/b_c=d//", "s3://my.bucket-1/a/b_c=d"),
    ] {
        let location: Location = text.parse().unwrap();
        assert_eq!(location.to_string(), spelling, "{text}");
        assert_eq!(spelling.parse::<Location>().unwrap(), location);
    }
    for text in [
        "",
        "/mnt/shared",
        "file://mnt/shared",
        "file:///",
        "file:///mnt/../shared",
        "file:///mnt//shared",
        "file:///mnt/a%20b",
        "s3://",
        "s3://ab",
        "s3://Payloads",
        "s3://-payloads",
        "s3://payloads/../other",
        "s3://payloads//of",
        "s3://key:secret@payloads",
        "gs://payloads",
    ] {
        assert!(text.parse::<Location>().is_err(), "{text}");
    }
}

#[test]
fn an_endpoint_has_no_path_and_no_user() {
    for (text, open) in [
        ("https://s3.example.com/", false),
        ("http://127.0.0.1:9000", false),
        ("http://localhost:9000", false),
        ("http://[::1]:9000", false),
        ("http://10.0.0.1:9000", true),
    ] {
        assert_eq!(text.parse::<S3Endpoint>().unwrap().is_open(), open, "{text}");
    }
    for text in ["", "s3.example.com", "https://", "https://a/b", "http://user:word@host"] {
        assert!(text.parse::<S3Endpoint>().is_err(), "{text}");
    }
}

#[test]
fn what_a_bucket_lacks_is_named_with_its_variable() {
    assert_eq!(BlobsArgs::default().target().unwrap(), None);
    let Some(Target::Bucket(whole)) = bucket().target().unwrap() else { panic!("a bucket") };
    assert_eq!((whole.region.as_str(), whole.prefix.as_str()), ("us-east-1", "of/one"));

    let amazon = BlobsArgs { endpoint: None, ..bucket() };
    assert!(refused(&amazon).contains("AWS_REGION"));
    let keyless = BlobsArgs { access_key_id: None, ..bucket() };
    assert!(refused(&keyless).contains("AWS_ACCESS_KEY_ID"));
    let empty = BlobsArgs { secret_access_key: Some(String::new().into()), ..bucket() };
    assert!(refused(&empty).contains("MAINSPRING_BLOBS_CREDENTIALS"));
    let nowhere = BlobsArgs { location: None, ..bucket() };
    assert!(refused(&nowhere).contains("MAINSPRING_BLOBS=s3://"));
    let mount = BlobsArgs {
        location: Some("file:///mnt/shared".parse().unwrap()),
        access_key_id: Some("of the shell".to_owned()),
        ..BlobsArgs::default()
    };
    assert!(matches!(mount.target().unwrap(), Some(Target::Mount(_))), "the shell's key is unused");
}

#[test]
fn credentials_come_from_the_default_section_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("credentials");
    let args = BlobsArgs { credentials: Some(file.clone()), ..bucket() };
    assert!(refused(&args).contains("credentials"), "there is no such file");
    let relative = BlobsArgs { credentials: Some("credentials".into()), ..bucket() };
    assert!(refused(&relative).contains("no absolute path"));
    std::fs::write(
        &file,
        "[other]\naws_access_key_id = wrong\n\n[default]\n# aws_session_token = old\n\
         aws_access_key_id = right\naws_secret_access_key=a/b+c=\n",
    )
    .unwrap();
    let Some(Target::Bucket(found)) = args.target().unwrap() else { panic!("a bucket") };
    assert_eq!(found.credentials.access_key_id, "right", "the file wins over the variables");
    assert_eq!(found.credentials.secret_access_key.expose(), "a/b+c=");
    assert_eq!(found.credentials.session_token, None);
    std::fs::write(&file, "[default]\naws_access_key_id = right\n").unwrap();
    assert!(refused(&args).contains("lacks aws_access_key_id or aws_secret_access_key"));
}

#[test]
fn a_secret_is_not_shown() {
    let args = BlobsArgs { session_token: Some("hidden".parse().unwrap()), ..bucket() };
    let shown = format!("{args:?} {:?}", args.target().unwrap());
    assert!(!shown.contains("hidden") && shown.contains("***"), "{shown}");
    let refused = "s3://key:hidden@payloads".parse::<Location>().unwrap_err().to_string();
    assert!(!refused.contains("hidden") && refused.contains("payloads"), "{refused}");
}
