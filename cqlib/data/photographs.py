"""The photographs of photos10 and of the grounds of photodigits, with their authors and terms."""

from typing import NamedTuple


class Photo(NamedTuple):
    """A photograph: its file inside the installed wheel, what it shows, by whom it is, and the terms it comes under."""

    file: str
    shows: str
    author: str
    terms: str


_FREE, _CC0, _BY = "public domain", "CC0 1.0", "CC BY 2.0"
PHOTOS = {
    "astronaut": Photo("skimage/data/astronaut.png", "the astronaut Eileen Collins", "NASA", _FREE),
    "chelsea": Photo("skimage/data/chelsea.png", "a cat", "Stéfan van der Walt", _CC0),
    "coffee": Photo("skimage/data/coffee.png", "a cup of coffee", "Rachel Michetti, Pikolo Espresso Bar", _CC0),
    "hubble": Photo("skimage/data/hubble_deep_field.jpg", "the Hubble eXtreme Deep Field", "NASA, ESA", _FREE),
    "ihc": Photo("skimage/data/ihc.png", "stained tissue of the colon", "Center for Microscopy and Molecular Imaging",
                 "no known copyright restrictions"),
    "hopper": Photo("matplotlib/mpl-data/sample_data/grace_hopper.jpg", "the computer scientist Grace Hopper",
                    "James S. Davis, US Navy", _FREE),
    "retina": Photo("skimage/data/retina.jpg", "a retina", "Mikael Häggström", _CC0),
    "rocket": Photo("skimage/data/rocket.jpg", "the launch of a Falcon 9", "SpaceX", _CC0),
    "china": Photo("sklearn/datasets/images/china.jpg", "a temple in China",
                   "danielbuechele, flickr.com/photos/danielbuechele/6061409035", _BY),
    "flower": Photo("sklearn/datasets/images/flower.jpg", "a flower",
                    "vultilion, flickr.com/photos/vultilion/6056698931", _BY),
}  # fmt: skip
"""Class -> its photograph."""
CREDITS = tuple(f"{photo.shows}, by {photo.author}: {photo.terms}" for photo in PHOTOS.values())
"""To be named wherever crops are passed on, also as grounds of photodigits."""
