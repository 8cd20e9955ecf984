"""Known vulnerabilities of the packages that constraints.txt pins (make audit); says in words when
nobody could be asked.
"""

import json
import subprocess
import sys
from pathlib import Path

PINS = Path(__file__).parent.parent / "constraints.txt"


def main(pip_audit: str) -> int:
    """Run pip-audit; 0 where nothing is known or nobody could be asked, 1 where something is."""
    options = "--no-deps --disable-pip --progress-spinner off --format json -r"
    command = [pip_audit, *options.split(), str(PINS)]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(
            "audit: NOT DONE, the vulnerability service cannot be reached:"
            f" {done.stderr.strip()[-200:]}"
        )
        return 0
    asked = [package for package in packages if "vulns" in package]
    bad = [package for package in asked if package["vulns"]]
    for package in bad:
        for vulnerability in package["vulns"]:
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            print(
                f"audit: {package['name']} {package['version']}: {vulnerability['id']}, fixed in"
                f" {fixed}"
            )
    if not asked:
        print(f"audit: NOT DONE, the service of this index knows none of {len(packages)} packages")
        return 0
    result = f"{len(bad)} with known vulnerabilities, of {len(packages)} packages"
    if unknown := len(packages) - len(asked):
        result += f"; not known there: {unknown}"
    print(f"audit: {result}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
