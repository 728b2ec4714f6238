//! Text files.

use super::*;

#[test]
fn header_target_and_names() {
    let t = csv("a,b,label\n1,2.5,0\n-3,4e2,1\n").unwrap();
    assert_eq!((t.rows, t.cols, t.feature_names.clone()), (2, 2, strings(&["a", "b"])));
    assert_eq!(t.inputs, [1.0, 2.5, -3.0, 400.0]);
    assert_eq!(t.row(1), Some([-3.0, 400.0].as_slice()));
    assert_eq!(t.row(2), None);
    assert_eq!(classes(&t), (vec![0, 1], vec!["0", "1"]));
    let t = csv("Class,a\n1,7\n0,8\n").unwrap();
    assert_eq!((t.inputs.clone(), classes(&t).0), (vec![7.0, 8.0], vec![1, 0]));
    let t = csv("1,2,0\n3,4,1\n").unwrap();
    assert_eq!((t.rows, t.feature_names), (2, strings(&["1", "2"])));
}

#[test]
fn bom_crlf_quotes_blank_lines_and_other_delimiters() {
    let expected = csv("a b,c,label\n1,2,0\n3,4,1\n").unwrap();
    for text in [
        "\u{feff}a b,c,label\r\n1,2,0\r\n3,4,1\r\n",
        "\"a b\",\"c\",\"label\"\n\"1\", 2 ,0\n\n\r\n3,\"4\",1",
        "a b;c;label\n1;2;0\n3;4;1\n",
        "a b\tc\tlabel\n1\t2\t0\n3\t4\t1\n",
        "\"a b\";\"c\";\"label\"\n1;2;0\n3;4;1\n",
    ] {
        assert_eq!(csv(text).unwrap(), expected, "{text:?}");
    }
    let t = csv("\"a,\"\"x\"\"\ny\",label\n1,0\n2,1\n").unwrap();
    assert_eq!(t.feature_names, ["a,\"x\"\ny"]);
}

#[test]
fn line_numbers_count_every_line() {
    let error = "expected a number, found \"abc\"; inputs are numbers: make a text column inputs with --categorical, or leave it out with --ignore";
    for (text, line) in [
        ("humidity,label\n1,0\nabc,1\n", 3),
        ("humidity,label\r\n1,0\r\n\r\n\r\nabc,1\r\n", 5),
        ("humidity,label\n1,\"two\nlines\"\nabc,1\n", 4),
    ] {
        assert_eq!(words(csv(text)), format!("d.csv: line {line}, column \"humidity\": {error}"), "{text:?}");
    }
}

#[test]
fn bad_cells() {
    let cell = |v: &str| words(csv(&format!("a,label\n{v},0\n")));
    assert!(cell("").ends_with(
        "line 2, column \"a\": expected a value, found nothing; fill the cell, or say with --missing what stands for it"
    ));
    for missing in ["nan", "NA", "?"] {
        assert!(
            cell(missing)
                .contains(&format!("found \"{missing}\", a missing value; fill the cell, or train with --missing"))
        );
    }
    assert!(cell("-inf").contains("finite"));
    assert!(cell("1e999").contains("1e999 is too large for a 32-bit float"));
    assert!(cell("1\u{e9}").contains("found \"1é\""));
    assert!(cell(&"x".repeat(1000)).len() < 200);
    let lenient = Options { allow_nonfinite: true, ..Options::default() };
    let t = csv_with("a,b,label\nnan,-inf,0\n", &lenient).unwrap();
    assert!(t.inputs[0].is_nan() && t.inputs[1] == f32::NEG_INFINITY);
    assert!(csv_with("a,label\n1e999,0\n", &lenient).is_err());
    assert!(words(csv("a,label\n1,nan\n")).contains("column \"label\": expected a finite number"));
    assert!(words(csv("a,label\n1,\n")).contains("column \"label\": expected a target, found nothing"));
}

#[test]
fn bad_shapes() {
    assert_eq!(words(csv("a,b,label\n1,2,0\n1,2\n")), "d.csv: line 3 has 2 fields, line 1 has 3");
    assert!(words(csv("a,b,label\n1,2,0,5\n")).contains("line 2 has 4 fields"));
    assert_eq!(words(csv("a,b,label\n")), "d.csv: holds no row of data");
    assert_eq!(words(csv("\n\r\n")), "d.csv: holds no row of data");
    assert_eq!(words(csv("")), "d.csv: is empty");
    assert!(words(csv("a,label\n\"1,0\n2,1\n")).contains("line 2: a quoted field opens here"));
    assert!(words(csv("a,a,label\n1,2,0\n")).contains("\"a\" (columns 1 and 2)"));
    let ignore = |names: &[&str]| Options { ignore: strings(names), ..Options::default() };
    assert_eq!(csv_with("a,a,label\n1,2,0\n", &ignore(&["1"])).unwrap().inputs, [2.0]);
    assert!(words(csv_with("a,a,a,label\n1,2,3,0\n", &ignore(&["1"]))).contains("(columns 2 and 3)"));
    assert_eq!(csv_with(",a,label\n1,2,0\n", &ignore(&["1"])).unwrap().inputs, [2.0]);
    assert!(words(csv(",a,label\n0,2,0\n")).contains("column 1 has no name"));
    assert!(words(csv("label\n1\n")).contains("no input column is left"));
    assert!(words(csv(&"1,".repeat(300_000))).contains("at most 262144 are read"));
    assert!(words(csv(&"1".repeat(17 << 20))).contains("line 1 is longer"));
    assert!(
        words(read_bytes("d.csv", b"a,label\n1,\xff\n", None, &Options::default()))
            .contains("line 2, field 2: the text is not UTF-8")
    );
}

#[test]
fn unclear_headers_are_asked_about() {
    assert!(words(csv("5.1,3.5,setosa\n4.9,3.0,virginica\n")).contains("both numbers (\"5.1\") and text (\"setosa\")"));
    let header = |header| Options { header, ..Options::default() };
    assert_eq!(csv_with("5.1,setosa\n4.9,virginica\n", &header(Header::No)).unwrap().rows, 2);
    assert_eq!(csv("1,2,label\n5,6,0\n").unwrap().feature_names, ["1", "2"]);
    assert_eq!(csv_with("2001,2002,2003\n1,2,0\n", &header(Header::Yes)).unwrap().feature_names, ["2001", "2002"]);
}

#[test]
fn kinds_of_labels() {
    let labels = |rows: &[&str], task| {
        let text: String = rows.iter().map(|l| format!("1,{l}\n")).collect();
        csv_with(&format!("a,y\n{text}"), &Options { task, ..Options::default() })
    };
    let auto = |rows: &[&str]| labels(rows, Task::Auto).unwrap();
    assert_eq!(
        classes(&auto(&["10", "2", "0", "1", "5"])),
        (vec![10, 2, 0, 1, 5], (0..=10).map(|i| ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"][i]).collect())
    );
    assert_eq!(classes(&auto(&["1", "-1", "1"])), (vec![1, 0, 1], vec!["-1", "1"]));
    assert_eq!(classes(&auto(&["0", "1000000"])), (vec![0, 1], vec!["0", "1000000"]));
    assert_eq!(classes(&auto(&["dog", "cat", "dog", "7"])), (vec![2, 1, 2, 0], vec!["7", "cat", "dog"]));
    assert_eq!(values(&auto(&["1", "2.5"])), (vec![1.0, 2.5], 1));
    assert_eq!(values(&labels(&["1", "2"], Task::Values).unwrap()).0, [1.0, 2.0]);
    assert_eq!(classes(&labels(&["1.0", "0", "2e0"], Task::Classes).unwrap()), (vec![1, 0, 2], vec!["0", "1", "2"]));
    assert_eq!(classes(&labels(&["10.5", "2.5"], Task::Classes).unwrap()), (vec![1, 0], vec!["2.5", "10.5"]));
    assert!(
        words(labels(&["1", "cat"], Task::Values)).contains("line 3, column \"y\": expected a number, found \"cat\"")
    );
    let many: Vec<String> = (0..2000).map(|i| (i * 37).to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(words(labels(&many, Task::Auto)).contains("2000 different whole numbers in 2000 rows"));
    assert_eq!(classes(&labels(&many, Task::Classes).unwrap()).1.len(), 2000);
    let many: Vec<String> = (0..70_000).map(|i| format!("c{i}")).collect();
    assert!(
        words(labels(&many.iter().map(String::as_str).collect::<Vec<_>>(), Task::Auto))
            .contains("more than 65536 classes")
    );
}

#[test]
fn classes_of_a_trained_model() {
    let known = |names: &[&str]| Options { classes: Some(strings(names)), ..Options::default() };
    let t = csv_with("a,y\n1,cat\n1,ant\n", &known(&["dog", "cat", "ant"])).unwrap();
    assert_eq!(classes(&t), (vec![1, 2], vec!["dog", "cat", "ant"]));
    let t = csv_with("a,y\n1,1.0\n1,0\n", &known(&["0", "1", "2"])).unwrap();
    assert_eq!(classes(&t).0, [1, 0]);
    let error = words(csv_with("a,y\n1,cat\n1,cow\n", &known(&["dog", "cat"])));
    assert_eq!(error, "d.csv: line 3, column \"y\": unknown class \"cow\"; the model knows \"dog\", \"cat\"");
    let digits: Vec<String> = (0..20).map(|i| i.to_string()).collect();
    let error = words(csv_with("a,y\n1,25\n", &Options { classes: Some(digits), ..Options::default() }));
    assert!(
        error.contains("unknown class \"25\"; the model knows \"0\", \"1\"") && error.contains("\"19\" (20 in all)")
    );
}

#[test]
fn columns_chosen_by_the_user() {
    let text = "id,subject,x,y,kind\n9,0,1,2,a\n8,1,3,4,b\n7,2,5,6,a\n";
    let base = Options { ignore: strings(&["id"]), group: Some("subject".into()), ..Options::default() };
    let t = csv_with(text, &Options { filters: vec!["subject=1..2".parse().unwrap()], ..base.clone() }).unwrap();
    assert_eq!((t.inputs.clone(), t.feature_names.clone()), (vec![3.0, 4.0, 5.0, 6.0], strings(&["x", "y"])));
    assert_eq!(classes(&t), (vec![1, 0], vec!["a", "b"]));
    let groups = t.groups.clone().unwrap();
    assert_eq!((groups.ids.clone(), groups.names, groups.column), (vec![0, 1], strings(&["1", "2"]), "subject".into()));
    assert_eq!(t.select(&[1, 9]).groups.unwrap().ids, [1]);

    let target = |names: &[&str]| TargetColumn::Columns(strings(names));
    let ignore = strings(&["id", "5"]);
    let t = csv_with(
        text,
        &Options { target: target(&["y", "2"]), ignore: ignore.clone(), task: Task::Values, ..Options::default() },
    );
    assert_eq!(values(&t.unwrap()), (vec![2.0, 0.0, 4.0, 1.0, 6.0, 2.0], 2));
    assert!(
        words(csv_with(text, &Options { target: target(&["x", "y"]), task: Task::Classes, ..Options::default() }))
            .contains("2 target columns")
    );
    assert!(
        words(csv_with(text, &Options { target: target(&["x", "x"]), ..Options::default() }))
            .contains("the target again")
    );
    assert!(
        words(csv_with(text, &Options { target: target(&["5"]), ignore, ..Options::default() }))
            .contains("\"kind\" cannot be both the target and ignored")
    );
    let t = csv_with(text, &Options { target: TargetColumn::None, ignore: strings(&["last"]), ..Options::default() })
        .unwrap();
    assert_eq!((t.cols, t.target), (4, None));

    for (options, what) in [
        (
            Options { target: target(&["z"]), ..Options::default() },
            "no column \"z\" (the target); its columns are \"id\", \"subject\"",
        ),
        (Options { ignore: strings(&["z"]), ..Options::default() }, "(to be ignored)"),
        (Options { group: Some("9".into()), ..Options::default() }, "(to group by)"),
        (Options { filters: vec!["z=1".parse().unwrap()], ..Options::default() }, "(a row filter)"),
    ] {
        assert!(words(csv_with(text, &options)).contains(what));
    }
    let none = Options { filters: vec!["subject=5..".parse().unwrap(), "row=1".parse().unwrap()], ..base.clone() };
    assert_eq!(words(csv_with(text, &none)), "d.csv: none of its 3 rows passes subject=5.. and row=1");
    let range = Options { filters: vec!["kind=5..".parse().unwrap()], ..base };
    assert!(words(csv_with(text, &range)).contains("line 2, column \"kind\": expected a number, found \"a\""));
}

#[test]
fn inputs_of_a_trained_model_are_taken_by_name() {
    let model = |names: &[&str]| Options { features: Some(strings(names)), ..Options::default() };
    let t = csv_with("y,extra,x,label\n1,9,2,0\n", &model(&["x", "y"])).unwrap();
    assert_eq!(
        (t.inputs.clone(), t.feature_names.clone(), classes(&t).0),
        (vec![2.0, 1.0], strings(&["x", "y"]), vec![0])
    );
    // Nothing left that could be a target: then there is none.
    assert_eq!(csv_with("y,x\n1,2\n", &model(&["x", "y"])).unwrap().target, None);
    assert!(words(csv_with("y,z\n1,2\n", &model(&["x", "y"]))).contains("no column \"x\" (an input of the model)"));
    // Trained without names, or used without: the order decides, and the number must fit.
    let t = csv_with("p,q,label\n1,2,0\n", &model(&["1", "2"])).unwrap();
    assert_eq!(t.inputs, [1.0, 2.0]);
    assert_eq!(csv_with("1,2,0\n", &model(&["x", "y"])).unwrap().inputs, [1.0, 2.0]);
    assert!(words(csv_with("1,2,3,0\n", &model(&["x", "y"]))).contains("has 3 input columns, the model takes 2"));
    // A column ignored in training may be missing now.
    let options = Options { ignore: strings(&["subject"]), ..model(&["x"]) };
    assert_eq!(csv_with("x,label\n1,0\n", &options).unwrap().rows, 1);
    let options = Options { target: TargetColumn::Columns(strings(&["x"])), ..model(&["x", "y"]) };
    assert!(words(csv_with("y,x\n1,2\n", &options)).contains("cannot be both"));
}
