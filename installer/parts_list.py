"""The parts of a built folder with their versions, as a CycloneDX document (a software bill of materials)."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import Distribution
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from installer.licences import declared_licence
from installer.origin import Origin

SITE_PACKAGES = "site-packages"
OWN = ("henge-monitor",)
LICENCE_NAME_CHARACTERS_MAX = 100  # Some give the whole text where a name is asked for.


def bundled_distributions(work: Path) -> list[Distribution]:
    """The distributions that files of a build came from, by name.

    work: PyInstaller's folder of that build; its tables of contents say where each file was taken.
    """
    owners = {str(file): found for found in importlib.metadata.distributions() for file in found.files or ()}
    bundled = {
        owners[inside].metadata["Name"]: owners[inside]
        for table in ("PYZ-00.toc", "COLLECT-00.toc")
        for path in _texts(ast.literal_eval((work / table).read_text(encoding="utf-8")))
        if (inside := path.partition(f"/{SITE_PACKAGES}/")[2]) in owners
    }
    return [bundled[name] for name in sorted(bundled, key=str.lower) if name not in OWN]


def _texts(table: object) -> Iterator[str]:
    if isinstance(table, str):
        yield table
    elif isinstance(table, list | tuple):
        for entry in table:
            yield from _texts(entry)


def write_parts_list(path: Path, distributions: Sequence[Distribution], folder: Path, where: Origin) -> None:
    """Write it. Libraries of the system that PyInstaller took along stand in it as files, with their SHA-256."""
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, f"henge-{where.version}-{where.commit}"),
        components=[
            Component(type=ComponentType.PLATFORM, name="python", version=platform.python_version()),
            *map(_package, distributions),
            *(_library(file) for file in sorted((folder / "_internal").glob("lib*.so*"))),
        ],
    )
    bom.metadata.timestamp = datetime.fromtimestamp(where.committed_s, UTC)
    bom.metadata.component = Component(
        type=ComponentType.APPLICATION, name="henge", version=f"{where.version}+{where.commit}"
    )
    bom.register_dependency(bom.metadata.component, bom.components)
    make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_to_file(str(path), allow_overwrite=True, indent=2)


def _package(distribution: Distribution) -> Component:
    name, version = distribution.metadata["Name"], distribution.version
    licence = (declared_licence(distribution) or f"see licences/{name}").splitlines()[0]
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        purl=PackageURL("pypi", name=name.lower().replace("_", "-"), version=version),
        bom_ref=f"{name}=={version}",
        licenses=[DisjunctiveLicense(name=licence[:LICENCE_NAME_CHARACTERS_MAX])],
    )


def _library(path: Path) -> Component:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Component(
        type=ComponentType.FILE,
        name=path.name,
        bom_ref=f"file:{path.name}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )
