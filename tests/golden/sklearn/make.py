"""Makes the golden models of scikit-learn and of the operators of ai.onnx.ml.

Each folder beside this file is a case: `model.onnx`, its inputs `input_N.pb`, what ONNX Runtime
answers `output_N.pb` and, for models of scikit-learn, what scikit-learn itself answers
`sklearn_N.pb` (all TensorProto). A map from labels to scores is written as a matrix.

Made with onnx 1.23.2, onnxruntime 1.32.0, scikit-learn 1.9.1 and skl2onnx 1.20.0:

    python3 tests/golden/sklearn/make.py
"""

import collections
import pathlib
import shutil
import warnings

import numpy as np
import onnx
import onnxruntime
import sklearn
import skl2onnx.common._container as container
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

HERE = pathlib.Path(__file__).parent
ROWS = 16
OPSETS = {"": 18, "ai.onnx.ml": 3}
DOMAIN = "ai.onnx.ml"

warnings.filterwarnings("ignore")
onnxruntime.set_default_logger_severity(4)

# This version of the converter hands on truth values where whole numbers are wanted.
plain_node = container.make_node


def node_without_bools(*args, **settings):
    for name, value in settings.items():
        if isinstance(value, list) and any(isinstance(item, (bool, np.bool_)) for item in value):
            settings[name] = [int(item) for item in value]
    return plain_node(*args, **settings)


container.make_node = node_without_bools


def write(folder, kind, index, values):
    values = np.asarray(values)
    if values.dtype.kind in "UO":
        values = values.astype(object)
    tensor = numpy_helper.from_array(values, f"{kind}_{index}")
    (folder / f"{kind}_{index}.pb").write_bytes(tensor.SerializeToString())


def matrix(value):
    """A sequence of maps as a matrix."""
    if isinstance(value, list):
        return np.array([list(row.values()) for row in value], np.float32)
    return value


def case(name, model, inputs, own=()):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    outputs = session.run(None, inputs)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    for index, port in enumerate(session.get_inputs()):
        write(folder, "input", index, inputs[port.name])
    for index, output in enumerate(outputs):
        write(folder, "output", index, matrix(output))
    for index, values in enumerate(own):
        write(folder, "sklearn", index, values)


def sk(name, model, x, y, options=None, types=None):
    """A model of scikit-learn, fit and asked about rows between those that it was fit to."""
    model.fit(x, y)
    some = x[:: max(1, len(x) // ROWS)][:ROWS]
    proto = to_onnx(model, x[:1], options=options, target_opset=OPSETS)
    own = [model.predict(some)]
    if hasattr(model, "predict_proba"):
        own.append(model.predict_proba(some).astype(np.float32))
    elif own[0].dtype.kind == "f":
        own[0] = own[0].astype(np.float32).reshape(len(some), -1)
    case(name, proto, {proto.graph.input[0].name: some}, own)


def sklearn_cases():
    cancer_x, cancer_y = load_breast_cancer(return_X_y=True)
    iris_x, iris_y = load_iris(return_X_y=True)
    sugar_x, sugar_y = load_diabetes(return_X_y=True)
    cancer_x, iris_x = cancer_x.astype(np.float32), iris_x.astype(np.float32)
    sugar_x = (sugar_x * 100).astype(np.float32)
    names = np.array(["setosa", "versicolor", "virginica"])[iris_y]
    flat = {"zipmap": False}
    small = {"n_estimators": 8, "random_state": 0}
    missing = cancer_x.copy()
    missing[::7, ::3] = np.nan
    for name, model, x, y, options in [
        ("scaled_logistic", make_pipeline(StandardScaler(), LogisticRegression()), cancer_x, cancer_y, flat),
        ("logistic_names", LogisticRegression(max_iter=500), iris_x, names, None),
        ("linear_regression", LinearRegression(), sugar_x, sugar_y, None),
        ("forest", RandomForestClassifier(**small), cancer_x, cancer_y, flat),
        ("forest_names", RandomForestClassifier(max_depth=5, **small), iris_x, names, None),
        ("forest_regressor", RandomForestRegressor(max_depth=6, **small), sugar_x, sugar_y, None),
        ("extra_trees", ExtraTreesClassifier(max_depth=6, **small), cancer_x, cancer_y, flat),
        ("boosting", GradientBoostingClassifier(**small), cancer_x, cancer_y, flat),
        ("boosting_three", GradientBoostingClassifier(**small), iris_x, iris_y, flat),
        ("boosting_regressor", GradientBoostingRegressor(**small), sugar_x, sugar_y, None),
        ("hist_boosting", HistGradientBoostingClassifier(max_iter=8), missing, cancer_y, flat),
        ("hist_boosting_three", HistGradientBoostingClassifier(max_iter=5), iris_x, iris_y, flat),
        ("hist_boosting_regressor", HistGradientBoostingRegressor(max_iter=8), sugar_x, sugar_y, None),
        ("tree", DecisionTreeClassifier(random_state=0), iris_x, iris_y, flat),
        ("tree_regressor", DecisionTreeRegressor(max_depth=6, random_state=0), sugar_x, sugar_y, None),
        ("svc", make_pipeline(StandardScaler(), SVC(probability=True, random_state=0)), iris_x, iris_y, flat),
        ("svc_two", make_pipeline(StandardScaler(), SVC(probability=True, random_state=0)), cancer_x[:200], cancer_y[:200], flat),
        ("svc_poly", make_pipeline(StandardScaler(), SVC(kernel="poly", probability=True, random_state=0)), iris_x, names, None),
        ("svr", make_pipeline(StandardScaler(), SVR()), sugar_x[:150], sugar_y[:150], None),
        ("linear_svc", LinearSVC(), iris_x, iris_y, {"raw_scores": True}),
        ("one_class", make_pipeline(StandardScaler(), OneClassSVM()), iris_x, None, None),
        ("network", make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=200, random_state=0)), cancer_x, cancer_y, flat),
        ("normalised", make_pipeline(Normalizer("l1"), LogisticRegression()), iris_x, iris_y, flat),
        ("imputed", make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()), missing, cancer_y, flat),
    ]:
        try:
            sk(name, model, x, y, options)
        except Exception as error:
            print(name, "not made:", type(error).__name__, str(error).splitlines()[0][:200])
    try:
        model = IsolationForest(n_estimators=4, max_samples=32, random_state=0).fit(iris_x)
        proto = to_onnx(model, iris_x[:1], target_opset=OPSETS)
        some = iris_x[::10]
        own = [model.predict(some).reshape(-1, 1), model.decision_function(some).reshape(-1, 1).astype(np.float32)]
        case("isolation", proto, {proto.graph.input[0].name: some}, own)
    except Exception as error:
        print("isolation not made:", str(error).splitlines()[0][:200])
    columns_case(cancer_x)


def columns_case(x):
    """Numbers and names, each column prepared by its kind."""
    numbers = x[:, :4].copy()
    numbers[::5, 1] = np.nan
    names = np.array([["red", "green", "blue"][int(row[0]) % 3] for row in x]).reshape(-1, 1)
    table = np.concatenate([numbers.astype(object), names.astype(object)], axis=1)
    y = (x[:, 0] > 14).astype(np.int64)
    columns = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), [0, 1, 2, 3]),
        ("names", OneHotEncoder(handle_unknown="ignore"), [4]),
    ])
    model = make_pipeline(columns, LogisticRegression())
    model.fit(table, y)
    types = [("numbers", FloatTensorType([None, 4])), ("names", StringTensorType([None, 1]))]
    try:
        proto = to_onnx(model, initial_types=types, options={"zipmap": False}, target_opset=OPSETS)
        some = slice(0, None, 40)
        own = [model.predict(table[some]), model.predict_proba(table[some]).astype(np.float32)]
        case("columns", proto, {"numbers": numbers[some], "names": names[some].astype(object)}, own)
    except Exception as error:
        print("columns not made:", str(error).splitlines()[0][:200])


def node_case(name, operator, inputs, outputs, version=3, **settings):
    """One node; `outputs` are the types of its outputs."""
    node = helper.make_node(
        operator,
        [f"x{index}" for index in range(len(inputs))],
        [f"y{index}" for index in range(len(outputs))],
        domain=DOMAIN,
        **settings,
    )
    ports = []
    for index, values in enumerate(inputs):
        element = helper.np_dtype_to_tensor_dtype(values.dtype)
        shape = [None] + list(values.shape[1:])
        ports.append(helper.make_tensor_value_info(f"x{index}", element, shape))
    wanted = [helper.make_tensor_value_info(f"y{index}", t, None) for index, t in enumerate(outputs)]
    graph = helper.make_graph([node], name, ports, wanted)
    sets = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, version)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=9)
    case(name, model, {f"x{index}": values for index, values in enumerate(inputs)})


def forest(numbers, kind, ids, modes, trees=5, features=4, low=-0.4, width=1):
    """Trees of three branches; `ids` gives the targets of a leaf."""
    lists = collections.defaultdict(list)
    for tree in range(trees):
        for node in range(7):
            is_leaf = node > 2
            lists["nodes_treeids"].append(tree)
            lists["nodes_nodeids"].append(node)
            lists["nodes_featureids"].append(0 if is_leaf else int(numbers.integers(features)))
            lists["nodes_values"].append(0.0 if is_leaf else float(numbers.integers(-2, 3)) / 2)
            lists["nodes_modes"].append("LEAF" if is_leaf else str(numbers.choice(modes)))
            lists["nodes_truenodeids"].append(0 if is_leaf else 2 * node + 1)
            lists["nodes_falsenodeids"].append(0 if is_leaf else 2 * node + 2)
            lists["nodes_missing_value_tracks_true"].append(0 if is_leaf else int(numbers.integers(2)))
            for target in ids(tree) if is_leaf else []:
                lists[f"{kind}_treeids"].append(tree)
                lists[f"{kind}_nodeids"].append(node)
                lists[f"{kind}_ids"].append(target)
                lists[f"{kind}_weights"].append(float(np.float32(numbers.uniform(low, 0.6))))
    return lists


def tree_cases():
    numbers = np.random.default_rng(5)
    x = (numbers.integers(-4, 5, (12, 4)) / 4).astype(np.float32)
    x[numbers.random((12, 4)) < 0.15] = np.nan
    ordered = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"]
    every = ordered + ["BRANCH_EQ", "BRANCH_NEQ"]
    both = [TensorProto.INT64, TensorProto.FLOAT]
    for post in ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"]:
        lists = forest(numbers, "class", lambda tree: range(3), every)
        settings = dict(lists, classlabels_int64s=[5, 6, 7], post_transform=post)
        node_case(f"node_trees_three_{post.lower()}", "TreeEnsembleClassifier", [x], both, **settings)
        lists = forest(numbers, "class", lambda tree: [tree % 3], ordered)
        settings = dict(lists, classlabels_int64s=[5, 6, 7], post_transform=post, base_values=[0.1, 0.2, 0.3])
        node_case(f"node_trees_each_{post.lower()}", "TreeEnsembleClassifier", [x], both, **settings)
        if post != "PROBIT":
            lists = forest(numbers, "class", lambda tree: [0], ordered)
            settings = dict(lists, classlabels_int64s=[5, 6], post_transform=post, base_values=[0.25])
            node_case(f"node_trees_two_{post.lower()}", "TreeEnsembleClassifier", [x], both, **settings)
            lists = forest(numbers, "class", lambda tree: [0], ordered, low=0.0)
            settings = dict(lists, classlabels_int64s=[5, 6], post_transform=post)
            node_case(f"node_trees_positive_{post.lower()}", "TreeEnsembleClassifier", [x], both, **settings)
        lists = forest(numbers, "class", lambda tree: [1], ordered, low=0.0)
        settings = dict(lists, classlabels_strings=["a", "b"], post_transform=post)
        both_names = [TensorProto.STRING, TensorProto.FLOAT]
        node_case(f"node_trees_second_{post.lower()}", "TreeEnsembleClassifier", [x], both_names, **settings)
    for how in ["SUM", "AVERAGE", "MIN", "MAX"]:
        lists = forest(numbers, "target", lambda tree: range(2), every)
        settings = dict(lists, n_targets=2, aggregate_function=how, base_values=[0.5, -0.5])
        node_case(f"node_trees_{how.lower()}", "TreeEnsembleRegressor", [x], [TensorProto.FLOAT], **settings)
    lists = forest(numbers, "target", lambda tree: [0], ordered)
    lists["target_weights_as_tensor"] = numpy_helper.from_array(np.array(lists.pop("target_weights"), np.float64))
    lists["nodes_values_as_tensor"] = numpy_helper.from_array(np.array(lists.pop("nodes_values"), np.float64))
    node_case("node_trees_wide", "TreeEnsembleRegressor", [x.astype(np.float64)], [TensorProto.FLOAT], n_targets=1, **lists)
    lists = forest(numbers, "class", lambda tree: range(3), ordered)
    whole = numbers.integers(-2, 3, (12, 4)).astype(np.int64)
    node_case("node_trees_whole", "TreeEnsembleClassifier", [whole], both, classlabels_int64s=[5, 6, 7], **lists)


def linear_cases():
    numbers = np.random.default_rng(6)
    x = numbers.uniform(-1, 1, (8, 20)).astype(np.float32)
    both = [TensorProto.INT64, TensorProto.FLOAT]
    for post in ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"]:
        weights = (numbers.uniform(-1, 1, 60).astype(np.float32), numbers.uniform(-1, 1, 3).astype(np.float32))
        node_case(
            f"node_linear_{post.lower()}", "LinearClassifier", [x.astype(np.float64)], both,
            coefficients=weights[0], intercepts=weights[1], classlabels_ints=[4, 5, 6], post_transform=post,
        )
        node_case(
            f"node_linear_targets_{post.lower()}", "LinearRegressor", [x], [TensorProto.FLOAT],
            coefficients=weights[0], intercepts=weights[1], targets=3, post_transform=post,
        )
    for post in ["NONE", "LOGISTIC"]:
        node_case(
            f"node_linear_two_{post.lower()}", "LinearClassifier", [x], both,
            coefficients=weights[0][:20], intercepts=weights[1][:1], classlabels_ints=[4, 5], post_transform=post,
        )
    x = x[:, :5]
    vectors = numbers.uniform(-1, 1, (9, 5)).astype(np.float32)
    for kernel in ["LINEAR", "POLY", "RBF", "SIGMOID"]:
        shared = dict(kernel_type=kernel, kernel_params=[0.5, 0.25, 3.0], support_vectors=vectors.ravel())
        node_case(
            f"node_support_{kernel.lower()}", "SVMClassifier", [x], both, **shared,
            coefficients=numbers.uniform(-1, 1, 18).astype(np.float32), rho=[0.1, 0.2, -0.1],
            vectors_per_class=[2, 3, 4], classlabels_ints=[7, 8, 9],
        )
        node_case(
            f"node_support_regressor_{kernel.lower()}", "SVMRegressor", [x], [TensorProto.FLOAT], **shared,
            coefficients=numbers.uniform(-1, 1, 9).astype(np.float32), rho=[0.5], n_supports=9,
        )
        for post in ["NONE", "LOGISTIC"]:
            node_case(
                f"node_support_two_{kernel.lower()}_{post.lower()}", "SVMClassifier", [x], both, **shared,
                coefficients=numbers.uniform(-1, 1, 9).astype(np.float32), rho=[0.1],
                vectors_per_class=[4, 5], classlabels_ints=[7, 8], post_transform=post,
            )
    node_case(
        "node_support_chances", "SVMClassifier", [x], both, kernel_type="RBF", kernel_params=[0.5, 0.0, 3.0],
        support_vectors=vectors.ravel(), coefficients=numbers.uniform(-1, 1, 18).astype(np.float32),
        rho=[0.1, 0.2, -0.1], vectors_per_class=[2, 3, 4], classlabels_ints=[7, 8, 9],
        prob_a=[-1.0, -2.0, -1.5], prob_b=[0.1, -0.1, 0.2], post_transform="SOFTMAX",
    )
    node_case(
        "node_support_none", "SVMClassifier", [x], both, kernel_type="LINEAR", kernel_params=[0.5, 0.0, 3.0],
        coefficients=vectors[:3].ravel(), rho=[0.3], classlabels_ints=[7, 8, 9],
    )


def feature_cases():
    numbers = np.random.default_rng(7)
    x = numbers.integers(-3, 4, (6, 4)).astype(np.float32)
    x[0] = 0
    number, whole, text = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
    node_case("node_scaler", "Scaler", [x.astype(np.float64)], [number], scale=[0.5, 2.0, 3.0, 0.1], offset=[1.0, 2.0, 3.0, 4.0])
    node_case("node_scaler_one", "Scaler", [x.astype(np.int64)], [number], scale=[0.3], offset=[0.7])
    for norm in ["MAX", "L1", "L2"]:
        node_case(f"node_norm_{norm.lower()}", "Normalizer", [x], [number], norm=norm)
    holes = np.where(x == 1, np.nan, x).astype(np.float32)
    node_case("node_imputer", "Imputer", [holes], [number], imputed_value_floats=[9.0, 8.0, 7.0, 6.0], replaced_value_float=np.nan)
    node_case("node_imputer_one", "Imputer", [x.astype(np.int64)], [whole], imputed_value_int64s=[9], replaced_value_int64=-2)
    node_case("node_one_hot", "OneHotEncoder", [x], [number], cats_int64s=[-1, 0, 2])
    words = np.array([["a"], ["b"], ["?"]], object)
    node_case("node_one_hot_names", "OneHotEncoder", [words], [number], cats_strings=["b", "a"])
    node_case("node_labels", "LabelEncoder", [words], [number], keys_strings=["a", "b"], values_floats=[1.5, 2.5], default_float=7.0)
    node_case("node_labels_back", "LabelEncoder", [x], [text], keys_floats=[0.0, 1.0], values_strings=["no", "yes"])
    node_case("node_labels_first", "LabelEncoder", [words], [whole], version=1, classes_strings=["b", "a"], default_int64=5)
    node_case("node_mapper", "CategoryMapper", [words], [whole], cats_strings=["a", "b"], cats_int64s=[11, 12])
    node_case("node_extractor", "ArrayFeatureExtractor", [x, np.array([2, 0, 2])], [number])
    node_case("node_vectorizer", "FeatureVectorizer", [x, x[:, :2]], [number], inputdimensions=[3, 4])
    node_case("node_binarizer", "Binarizer", [x], [number], threshold=0.5)


if __name__ == "__main__":
    for folder in HERE.iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
    sklearn_cases()
    tree_cases()
    linear_cases()
    feature_cases()
    files = [file for file in HERE.rglob("*") if file.is_file()]
    print(sum(file.stat().st_size for file in files), "bytes in", len(files), "files")
