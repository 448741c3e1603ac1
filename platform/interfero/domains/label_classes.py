"""Classes, numbers and colours of the public datasets that are read as they come."""

from __future__ import annotations

from collections.abc import Mapping

Colour = tuple[int, int, int]

CAMVID = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
    "bicyclist",
)  # fmt: skip
"""SegNet's eleven classes of CamVid, and 11 for void."""
CITYSCAPES: Mapping[int, str] = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole",
    19: "traffic light", 20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky",
    24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train", 32: "motorcycle",
    33: "bicycle",
}  # fmt: skip
"""The 19 classes that Cityscapes evaluates, by `labelIds`; in this order they are its `labelTrainIds`."""
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
"""PASCAL VOC's classes; 255 is void."""
ADE20K = (
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet",
    "sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water",
    "painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence",
    "desk", "rock", "wardrobe", "lamp", "bathtub", "railing", "cushion", "base", "box", "column",
    "signboard", "chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator",
    "grandstand", "path", "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway",
    "river", "bridge", "bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill", "bench",
    "countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat", "bar",
    "arcade machine", "hovel", "bus", "towel", "light", "truck", "tower", "chandelier", "awning",
    "streetlight", "booth", "television receiver", "airplane", "dirt track", "apparel", "pole", "land",
    "bannister", "escalator", "ottoman", "bottle", "buffet", "poster", "stage", "van", "ship", "fountain",
    "conveyer belt", "canopy", "washer", "plaything", "swimming pool", "stool", "barrel", "basket",
    "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food", "step", "tank", "trade name",
    "microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen", "blanket", "sculpture", "hood",
    "sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen", "plate", "monitor",
    "bulletin board", "shower", "radiator", "glass", "clock", "flag",
)  # fmt: skip
"""The 150 classes of ADE20K's scene parsing benchmark; files hold 1 to 150, 0 is other."""
CAMVID_COLOURS: Mapping[Colour, str] = {
    (64, 128, 64): "Animal", (192, 0, 128): "Archway", (0, 128, 192): "Bicyclist",
    (0, 128, 64): "Bridge", (128, 0, 0): "Building", (64, 0, 128): "Car",
    (64, 0, 192): "CartLuggagePram", (192, 128, 64): "Child", (192, 192, 128): "Column_Pole",
    (64, 64, 128): "Fence", (128, 0, 192): "LaneMkgsDriv", (192, 0, 64): "LaneMkgsNonDriv",
    (128, 128, 64): "Misc_Text", (192, 0, 192): "MotorcycleScooter", (128, 64, 64): "OtherMoving",
    (64, 192, 128): "ParkingBlock", (64, 64, 0): "Pedestrian", (128, 64, 128): "Road",
    (128, 128, 192): "RoadShoulder", (0, 0, 192): "Sidewalk", (192, 128, 128): "SignSymbol",
    (128, 128, 128): "Sky", (64, 128, 192): "SUVPickupTruck", (0, 0, 64): "TrafficCone",
    (0, 64, 64): "TrafficLight", (192, 64, 128): "Train", (128, 128, 0): "Tree",
    (192, 128, 192): "Truck_Bus", (64, 0, 64): "Tunnel", (192, 192, 0): "VegetationMisc",
    (0, 0, 0): "Void", (64, 192, 0): "Wall",
}  # fmt: skip
"""CamVid's own 32 colours (its label_colors.txt)."""
VOC_VOID: Colour = (224, 224, 192)


def voc_colour(number: int) -> Colour:
    """The colour of a class in VOC's colour map: its bits, spread over the high bits of the channels."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
    return channels[0], channels[1], channels[2]


VOC_COLOURS: Mapping[Colour, str] = {
    **{voc_colour(number): name for number, name in enumerate(VOC)},
    VOC_VOID: "void",
}
