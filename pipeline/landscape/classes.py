"""The six classes of the generated landscape."""

from rasterloom.models.contract import ClassInfo

FIELD, GRASSLAND, FOREST, WATER, ROAD, BUILDING = range(1, 7)

LANDSCAPE_CLASSES = (
    ClassInfo(FIELD, "Field", (226, 192, 112)),
    ClassInfo(GRASSLAND, "Grassland", (152, 196, 104)),
    ClassInfo(FOREST, "Forest", (38, 106, 58)),
    ClassInfo(WATER, "Water", (58, 122, 190)),
    ClassInfo(ROAD, "Road", (110, 110, 116)),
    ClassInfo(BUILDING, "Building", (204, 66, 56)),
)
"""In ascending value. Every pixel of a scene has one of them; 0 does not occur."""

NO_CHANGE, BUILT, GONE = range(3)

CHANGE_CLASSES = (ClassInfo(BUILT, "Built", (226, 84, 60)), ClassInfo(GONE, "Gone", (70, 120, 214)))
"""What happens to buildings between two dates. All other pixels of a pair of scenes are 0."""

BANDS = ("Red", "Green", "Blue", "NearInfrared")
"""Band descriptions of a scene, in file order."""
