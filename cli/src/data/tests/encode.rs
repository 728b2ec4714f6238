//! Categories and missing cells.

use evenkeel::data::Source;

use super::*;

fn auto() -> Options {
    Options { categorical: Categorical::Auto, ..Options::default() }
}

fn missing(policy: &str) -> Options {
    Options { missing: policy.parse().unwrap(), ..Options::default() }
}

const COLORS: &str = "size,color,label\n1,red,a\n2,blue,b\n3,red,b\n4,green,a\n";

#[test]
fn a_category_is_an_input_of_its_own() {
    let asked = Options { categorical: Categorical::Columns(strings(&["color"])), ..Options::default() };
    for options in [auto(), asked] {
        let table = csv_with(COLORS, &options).unwrap();
        // In the order of the alphabet: blue, green, red.
        assert_eq!(
            table.inputs,
            [1., 0., 0., 1., 2., 1., 0., 0., 3., 0., 0., 1., 4., 0., 1., 0.],
            "size, then the categories"
        );
        assert_eq!((table.rows, table.cols, &table.feature_names[..]), (4, 4, &strings(&["size", "color"])[..]));
        let encoding = Encoding { categories: table.categories, ..Encoding::default() };
        assert_eq!(encoding.input_names(&table.feature_names), ["size", "color=blue", "color=green", "color=red"]);
        assert_eq!(encoding.width(&table.feature_names), 4);
    }
    assert!(words(csv(COLORS)).contains("--categorical"));
    let target = Options { categorical: Categorical::Columns(strings(&["label"])), ..Options::default() };
    assert!(words(csv_with(COLORS, &target)).contains("it is no input"));
    // Numbers are ordered by value.
    let months = Options { categorical: Categorical::Columns(strings(&["1"])), ..Options::default() };
    let table = csv_with("10,0\n9,1\n11,0\n", &months).unwrap();
    assert_eq!(table.categories["1"], ["9", "10", "11"]);
    let table = read_bytes("m", &npy_f32(&[10.0, 1.0, 9.0, 2.0], 2), None, &months).unwrap();
    assert_eq!((table.inputs, table.categories["1"].clone()), (vec![0., 1., 1., 1., 0., 2.], strings(&["9", "10"])));
}

#[test]
fn a_trained_model_knows_its_categories() {
    let known = [("color".to_owned(), strings(&["red", "blue"]))].into();
    let options = Options {
        categories: Some(known),
        features: Some(strings(&["color", "size"])),
        target: TargetColumn::None,
        ..Options::default()
    };
    let table = csv_with("size,color,other\n1,blue,x\n", &options).unwrap();
    assert_eq!(table.inputs, [0.0, 1.0, 1.0]);
    let error = words(csv_with("size,color\n1,blue\n2,pink\n", &options));
    assert!(
        error.contains("line 3, column \"color\": unknown category \"pink\"") && error.contains("zeros"),
        "{error}"
    );
    let zeros = Options { unknown_as_zeros: true, ..options.clone() };
    assert_eq!(csv_with("size,color\n2,pink\n", &zeros).unwrap().inputs, [0.0, 0.0, 2.0]);
    // A file without names goes by position, as numbers do.
    assert_eq!(csv_with("red,5\n", &Options { header: Header::No, ..options }).unwrap().inputs, [1.0, 0.0, 5.0]);
}

#[test]
fn what_stands_for_missing_cells() {
    let text = "a,b,color,y\n1,NA,red,0\n,2,?,1\n4,8,blue,0\n-999,nan,red,1\n";
    let lenient = |policy: &str| Options { missing_as: strings(&["-999"]), ..missing(policy) };
    let read = |policy: &str| csv_with(text, &Options { categorical: Categorical::Auto, ..lenient(policy) });
    let filled = |policy: &str| {
        let mut table = read(policy).unwrap();
        let learned = policy.parse::<Missing>().unwrap().learn(Source::Values(&table.inputs), table.cols).unwrap();
        Encoding { fill: learned, ..Encoding::default() }.fill_in(&mut table.inputs);
        table.inputs
    };
    assert_eq!(filled("mean"), [1., 5., 0., 1., 2.5, 2., 0., 0., 4., 8., 1., 0., 2.5, 5., 0., 1.]);
    assert_eq!(filled("median"), filled("mean"));
    assert_eq!(filled("-1"), [1., -1., 0., 1., -1., 2., 0., 0., 4., 8., 1., 0., -1., -1., 0., 1.]);
    let dropped = read("drop").unwrap();
    // Only the row that is whole; its category is the only one that counts.
    assert_eq!((dropped.rows, dropped.inputs.clone(), classes(&dropped).0), (1, vec![4., 8., 1.], vec![0]));
    assert!(words(read("refuse")).contains("expected a number, found \"NA\""));
    assert!(words(csv("a,b\n1,2\n,3\n")).contains("--missing"));
    // Targets never miss.
    assert!(words(csv_with("a,label\n1,x\n2,\n", &missing("mean"))).contains("column \"label\""));
    let row = |value| npy_f32(&[1.0, value, 3.0, 4.0], 2);
    let table = read_bytes("m", &row(f32::NAN), None, &missing("drop")).unwrap();
    assert_eq!(table.inputs, [3.0, 4.0]);
    assert!(words(read_bytes("m", &row(f32::INFINITY), None, &missing("mean"))).contains("finite"));
    assert!(words(csv_with("a,b\n?,1\n,2\n", &missing("drop"))).contains("none of its 2 rows passes --missing drop"));
    assert_eq!(Missing::Mean.learn(Source::Values(&[1.0, f32::NAN, 2.0, f32::NAN]), 2), Err(FillError::NoValue(1)));
    assert_eq!(Missing::Median.learn(Source::Values(&[3.0, 1.0, 2.0]), 1), Ok(vec![2.0]));
    for policy in ["refuse", "drop", "mean", "median", "0.5"] {
        assert_eq!(policy.parse::<Missing>().unwrap().to_string(), policy);
    }
    assert!("often".parse::<Missing>().unwrap_err().to_string().contains("none of refuse"));
    assert!("inf".parse::<Missing>().is_err());
}

#[test]
fn texts_of_any_number_are_no_categories() {
    let text: String = "id,v,y\n".to_owned() + &(0..5000).map(|i| format!("n{i},1,{}\n", i % 2)).collect::<String>();
    assert!(words(csv_with(&text, &auto())).contains("more than 4096 different texts"));
}

/// One-hot categories and what stands for missing cells: every input of a table is scikit-learn's, rounded once.
#[test]
fn as_in_scikit_learn() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/flow.json");
    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let text = file["tables"]["csv"].as_str().unwrap();
    let mut compared = 0;
    for (policy, inputs) in file["tables"]["inputs"].as_object().unwrap() {
        let mut table = csv_with(text, &Options { categorical: Categorical::Auto, ..missing(policy) }).unwrap();
        let learned = policy.parse::<Missing>().unwrap().learn(Source::Values(&table.inputs), table.cols).unwrap();
        Encoding { fill: learned, ..Encoding::default() }.fill_in(&mut table.inputs);
        let truth: Vec<f32> = inputs.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
        assert_eq!(table.inputs, truth, "{policy}");
        compared += truth.len();
    }
    println!("categories and missing cells: {compared} inputs of 4 tables, no deviation");
}
