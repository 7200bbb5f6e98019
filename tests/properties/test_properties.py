"""Properties by name."""

import pytest

from shapley_core.errors import UserError
from shapley_core.properties import check_property, get_property
from shapley_core.properties.colourfulness import Colourfulness
from shapley_core.properties.inception_score import InceptionScore


def test_properties_are_found_by_name():
    assert get_property("inception_score") is InceptionScore
    assert get_property("colourfulness") is Colourfulness
    check_property("colourfulness")


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("inception_scor", "did you mean 'inception_score'?"),
        ("colorfulness", "did you mean 'colourfulness'?"),
        ("xyz", "choose one of: aesthetic, colourfulness, diversity, fid, inception_score."),
    ],
)
@pytest.mark.parametrize("find", [check_property, get_property])
def test_an_unknown_property_is_told_the_nearest(find, name, end):
    with pytest.raises(UserError) as caught:
        find(name)
    assert str(caught.value) == f"there is no property '{name}'; {end}"
