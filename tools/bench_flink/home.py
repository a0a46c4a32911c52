"""Where Flink and its JDK are, and the programs of ours that are compiled against them."""

import dataclasses
import pathlib
import subprocess


@dataclasses.dataclass(frozen=True)
class Program:
    """The program that both sides run."""

    jar: pathlib.Path
    main: str
    arguments: tuple[str, ...] = ()
    parallelism: int = 1


@dataclasses.dataclass(frozen=True)
class Home:
    """The Flink and the JDK that `mainspring setup flink` installed."""

    java: str
    path: pathlib.Path
    # The JVM arguments with which Flink's own configuration opens modules to its libraries.
    opens: tuple[str, ...]

    @classmethod
    def find(cls, binaries: pathlib.Path) -> "Home":
        """The home that mainspring itself would use."""
        printed = subprocess.run([str(binaries / "examples" / "jvm_arguments"), "jobmanager", "1"], capture_output=True, text=True, check=True)
        lines = printed.stdout.splitlines()
        opens = tuple(line for line in lines if line.startswith(("--add-opens", "--add-exports")))
        first = lines[lines.index("-cp") + 1].split(":")[0]
        return cls(lines[0], pathlib.Path(first).parent, opens)

    def libraries(self) -> list[str]:
        """The jars of Flink's class path."""
        return sorted(str(library) for library in (self.path / "lib").glob("*.jar"))

    def compiled(self, source: pathlib.Path, into: pathlib.Path) -> pathlib.Path:
        """Compiles one Java file into a jar."""
        tools = pathlib.Path(self.java).parent
        classes, jar = into / source.stem, into / f"{source.stem}.jar"
        subprocess.run([str(tools / "javac"), "-proc:none", "-cp", ":".join(self.libraries()), "-d", str(classes), str(source)], check=True)
        subprocess.run([str(tools / "jar"), "--create", "--file", str(jar), "-C", str(classes), "."], check=True)
        return jar
