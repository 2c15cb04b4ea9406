"""Files of questions: what is read, and what is refused with file and line."""

from pathlib import Path

import pytest
from PIL import Image

from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.evaluation.dataset import Dataset, DatasetOptions
from vlmprune_tools.evaluation.datasets import open_dataset

HEADER = "image,question,answer,task\n"
POPE = '{"question_id": 1, "image": "a.png", "text": "Is there a dog?", "label": "%s"}\n'
LLAVA = '{"question_id": 1, "image": "a.png", "text": "What is it?"%s}\n'
TEN = '"red"' + ', "red"' * 9


def read(folder: Path, name: str, text: str | bytes, limit: int | None = 200) -> Dataset:
    for image in ("a.png", "b.png"):
        Image.new("RGB", (4, 4), "red").save(folder / image)
    content = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(content)
    return open_dataset(str(folder / name), DatasetOptions(limit))


def test_csv(tmp_path: Path) -> None:
    data = read(tmp_path, "q.csv", HEADER + 'a.png,"What, then?",dog| hound ,seeing\nb.png,How many?,2,\n')
    first, second = data.items
    assert (first.image, first.question, first.answers) == ("a.png", "What, then?", ("dog", "hound"))
    assert (first.task, second.task, first.metric, second.location) == ("seeing", "q", "exact", "q.csv:3")
    assert data.load_image("a.png").size == (4, 4)


def test_a_row_about_several_images(tmp_path: Path) -> None:
    """In the order of the row; each is looked for, and rows of the same images stand side by side."""
    data = read(tmp_path, "q.csv", HEADER + "a.png|b.png,What differs?,x,\na.png,Which?,x,\n a.png | b.png,And?,x,\n")
    assert [item.images for item in data.items] == [("a.png", "b.png")] * 2 + [("a.png",)]
    assert len({item.key for item in data.items}) == 3 and data.images == ("a.png", "b.png")
    lines = '{"image": ["b.png", "a.png"], "text": "What differs?", "answer": "x"}\n'
    assert read(tmp_path, "q.jsonl", lines).items[0].images == ("b.png", "a.png")
    for broken, message in (("[]", r"image is \[\]; allowed"), ('["b.png", "c.png"]', "image 'c.png': no such file")):
        with pytest.raises(BadRequest, match=message):
            read(tmp_path, "q.jsonl", lines.replace('["b.png", "a.png"]', broken))


def test_csv_with_bom_spaces_windows_lines_and_columns_of_any_order(tmp_path: Path) -> None:
    data = read(tmp_path, "q.csv", b"\xef\xbb\xbfanswer, image, question\r\nred, a.png, Which?\r\n")
    assert data.items[0].answers == ("red",) and data.items[0].image == "a.png"


def test_ten_answers_are_vqa(tmp_path: Path) -> None:
    assert read(tmp_path, "q.csv", HEADER + f"a.png,Which?,{'|'.join(['red'] * 10)},\n").items[0].metric == "vqa"
    assert read(tmp_path, "q.jsonl", LLAVA % f', "answer": [{TEN}]').items[0].metric == "vqa"


def test_pope_and_llava(tmp_path: Path) -> None:
    (pope,) = read(tmp_path, "coco_pope_random.json", POPE % "Yes").items
    assert (pope.metric, pope.answers, pope.task) == ("pope", ("yes",), "coco_pope_random")
    (llava,) = read(tmp_path, "q.jsonl", LLAVA % ', "answer": "dog", "category": "conv"').items
    assert (llava.metric, llava.answers, llava.task) == ("exact", ("dog",), "conv")
    (open_ended,) = read(tmp_path, "q.jsonl", LLAVA % "" + "\n").items
    assert (open_ended.metric, open_ended.answers) == ("agreement", ())


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / "c.png")
    (tmp_path / "q.csv").write_text("image,question,answer\nc.png,Which?,red\n")
    with pytest.raises(BadRequest, match=r"q.csv:2: image 'c.png': no such file"):
        open_dataset(str(tmp_path / "q.csv"), DatasetOptions())
    assert open_dataset(str(tmp_path / "q.csv"), DatasetOptions(images=tmp_path / "images")).load_image(
        "c.png"
    ).size == (4, 4)


def test_a_limit_takes_the_first_of_each_task_in_turn(tmp_path: Path) -> None:
    rows = [f"{'ab'[index % 2]}.png,Q{index}?,x,{'one' if index < 6 else 'two'}" for index in range(8)]
    data = read(tmp_path, "q.csv", HEADER + "\n".join(rows), limit=5)
    assert sorted(item.question for item in data.items) == ["Q0?", "Q1?", "Q2?", "Q6?", "Q7?"]
    assert [item.image for item in data.items] == ["a.png"] * 3 + ["b.png"] * 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("q.csv", "", "q.csv:1: no column image, question, answer; got nothing"),
        ("q.csv", "image,question\n", "q.csv:1: no column answer; got image, question; allowed"),
        ("q.csv", "image,image,question,answer\n", "q.csv:1: a column is there twice"),
        ("q.csv", HEADER, "q.csv: holds no question"),
        ("q.csv", HEADER + "a.png,Why?,red,t\na.png,Why\n", "q.csv:3: the row has more or fewer cells"),
        ("q.csv", HEADER + "a.png,Why,oh,why,red\n", "q.csv:2: the row has more or fewer cells"),
        ("q.csv", HEADER + "a.png,,red,t\n", "q.csv:2: question is empty"),
        ("q.csv", HEADER + "a.png,Why?,red||blue,t\n", "q.csv:2: one of the answers is empty"),
        ("q.csv", HEADER + "a.png,Why?,red,mean\n", "q.csv:2: task 'mean' is what the report calls"),
        ("q.csv", HEADER + 'a.png,"Why?,red,t\n', "q.csv:2: is not CSV"),
        ("q.csv", HEADER + "none.png,Why?,red,t\n", "q.csv:2: image 'none.png': no such file"),
        ("q.csv", HEADER.encode() + b"a.png,\xff?,red,t\n", "q.csv:2: is not UTF-8 text"),
        ("q.tsv", "image\tquestion\tanswer\n", "unknown data layout '.tsv'; choose one of: .csv, .json, .jsonl"),
        ("q.jsonl", "\n{\n", "q.jsonl:2: is not JSON"),
        ("q.jsonl", "[1]\n", "q.jsonl:1: is not a JSON object"),
        ("q.jsonl", '{"image": "a.png"}', "q.jsonl:1: text is None; allowed: text"),
        ("q.jsonl", '{"image": 7, "text": "Why?"}', "q.jsonl:1: image is 7; allowed: text"),
        ("q.jsonl", POPE % "yes" + POPE % "maybe", "q.jsonl:2: label is 'maybe'; allowed: yes or no"),
        ("q.jsonl", POPE % "yes" + LLAVA % "", "q.jsonl:2: has no answer, but the lines before it: has a label"),
        ("q.jsonl", LLAVA % "" + LLAVA % ', "answer": "dog"', "q.jsonl:2: has an answer, but the lines"),
        ("q.jsonl", LLAVA % ', "answer": []', "q.jsonl:1: answer is []; allowed: text, or a list"),
        ("q.jsonl", LLAVA % ', "answer": ["dog", 2]', "q.jsonl:1: answer is ['dog', 2]; allowed"),
    ],
)
def test_malformed_files_are_refused_by_line(tmp_path: Path, name: str, text: str | bytes, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(tmp_path, name, text)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nothing.csv", DatasetOptions(), "no data 'nothing.csv'; allowed: scenes, signs, easy-vqa, or a file"),
        ("scenes", DatasetOptions(None), "has no end"),
        ("scenes", DatasetOptions(-1), "limit: got -1"),
        ("scenes", DatasetOptions(seed=-1), "seed: got -1"),
    ],
)
def test_wrong_options_are_refused(name: str, options: DatasetOptions, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        open_dataset(name, options)
