"""The sets that scikit-learn fetches, and the files of its data home that hold them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FetchedSet:
    """A set that scikit-learn fetches.

    Attributes:
        files: the files below the data home: the rows, and the labels if they are in a separate file.
        task: the task of its labels.
        columns: the inputs, in the order of the file; none of images.
        target: the name of the label.
        classes: the names of the classes; none where the file has them, or for numbers.
    """

    files: tuple[str, ...]
    task: str
    columns: tuple[str, ...] = ()
    target: str = ""
    classes: tuple[str, ...] = ()


_HOUSES = "MedInc HouseAge AveRooms AveBedrms Population AveOccup Latitude Longitude"
_FORESTS = (
    "Elevation Aspect Slope Horizontal_Distance_To_Hydrology Vertical_Distance_To_Hydrology Horizontal_Distance_To_Roadways"
    " Hillshade_9am Hillshade_Noon Hillshade_3pm Horizontal_Distance_To_Fire_Points"
)
_COVERS = ("Spruce/Fir", "Lodgepole Pine", "Ponderosa Pine", "Cottonwood/Willow", "Aspen", "Douglas-fir", "Krummholz")
"""The classes 1 to 7, by the description of the set at the UCI Machine Learning Repository (`covtype.info`)."""
_CONNECTIONS = (
    "duration protocol_type service flag src_bytes dst_bytes land wrong_fragment urgent hot num_failed_logins logged_in"
    " num_compromised root_shell su_attempted num_root num_file_creations num_shells num_access_files num_outbound_cmds"
    " is_host_login is_guest_login count srv_count serror_rate srv_serror_rate rerror_rate srv_rerror_rate same_srv_rate"
    " diff_srv_rate srv_diff_host_rate dst_host_count dst_host_srv_count dst_host_same_srv_rate dst_host_diff_srv_rate"
    " dst_host_same_src_port_rate dst_host_srv_diff_host_rate dst_host_serror_rate dst_host_srv_serror_rate"
    " dst_host_rerror_rate dst_host_srv_rerror_rate"
)
PEOPLE, IMAGES_OF_A_PERSON = 40, 10
SETS = {
    "california_housing": FetchedSet(("cal_housing_py3.pkz",), "regression", tuple(_HOUSES.split()), "MedHouseVal"),
    "covtype": FetchedSet(
        ("covertype/samples_py3", "covertype/targets_py3"),
        "classification",
        (*_FORESTS.split(), *(f"Wilderness_Area_{area}" for area in range(4)), *(f"Soil_Type_{soil}" for soil in range(40))),
        "Cover_Type",
        _COVERS,
    ),
    "kddcup99": FetchedSet(
        ("kddcup99_10-py3/samples", "kddcup99_10-py3/targets"), "classification", tuple(_CONNECTIONS.split()), "labels"
    ),
    "olivetti_faces": FetchedSet(("olivetti_py3.pkz",), "classification", classes=tuple(map(str, range(PEOPLE)))),
}
