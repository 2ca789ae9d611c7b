"""One parser for the command line and YAML files; groups, families and datasets declare their options in it."""

import argparse
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn, cast

from data import find_dataset
from options.originals import replacement_of
from util.errors import UserError
from util.run_options import RunOptions
from util.values import Converter, boolean, integer, number, one_of, text

PLAIN_TYPES = {int: integer, float: number, str: text, Path: text, None: text}


class Options(argparse.Namespace, RunOptions):
    """The resolved options, one attribute each."""

    __slots__ = ("_defaults", "shape_results")  # no attributes like the options: vars(opt) has only these

    def __init__(self, shape_results: Iterable[str] = (), **values: Any):
        super().__init__(**values)
        self.shape_results = frozenset(shape_results)
        """The names of the options that affect the frames of a result, by their declarations."""

    def note_defaults(self, defaults: dict[str, Any]) -> None:
        """Store the defaults, before any file or argument."""
        self._defaults = defaults

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """Height and width of the dataset mode's pictures, for families that are built for one; None: as files are."""
        return find_dataset(self.dataset_mode).size_of(self)

    def differing(self) -> dict[str, Any]:
        """The options that differ from the family's defaults."""
        unset = object()
        return {name: value for name, value in vars(self).items() if self._defaults.get(name, unset) != value}


class _Argparse(argparse.ArgumentParser):
    """argparse that raises errors instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message.removeprefix("argument "))


class OptionGroup:
    """Collects the options of a family or dataset, or of one titled group of --help."""

    def __init__(
        self,
        owner: "OptionParser",
        title: str,
        description: str | None = None,
        example: str = "",
        advanced: bool = False,
    ):
        self._owner, self._title = owner, title or "one of its parts"
        self._group = owner.parser.add_argument_group(title, description)
        self._advanced = advanced
        self.title, self.description, self.example = title, description, example
        self.names: list[str] = []
        """The names of the options declared here."""

    def add_argument(
        self, name: str, *aliases: str, help: str, default: Any = None, shapes_result: bool = True,
        advanced: bool | None = None, **settings: Any,
    ) -> None:  # fmt: skip
        """Declare an option. `type` is a converter of util.values (or int, float, str).

        `shapes_result=False` marks options that set where and how to work, or which results to make, but not their
        frames: commands that differ only in these share a results folder. `advanced` options appear in --help_all only;
        None: as in the group.

        Aliases are other spellings: old ones, and dotted ones ("--train_params.lr_generator") for the same value in the
        original projects' nested YAML files. --help shows one-dash aliases ("-ci").
        """
        self._refuse_argparse_habits(name, settings)
        for spelling in (name, *aliases):
            self._owner.claim(spelling, self._title)
        kind, choices = settings.pop("type", None), settings.pop("choices", None)
        converter = one_of(*choices) if choices else PLAIN_TYPES.get(kind, kind)
        help = help.replace(" (default: %(default)s)", "")  # format_help shows it for all options
        short = [alias for alias in aliases if not alias.startswith("--")]
        long = [alias[2:] for alias in aliases if alias.startswith("--")]
        settings.setdefault("metavar", getattr(converter, "metavar", converter.__name__.upper()))
        action = self._group.add_argument(
            name, *short, type=converter, default=argparse.SUPPRESS, help=_with_aliases(help, long), **settings
        )
        self._owner.register(action, long, default)
        self.names.append(action.dest)
        if shapes_result:
            self._owner.shape_results.add(action.dest)
        if self._advanced if advanced is None else advanced:
            self._owner.advanced.add(action.dest)

    def add_switch(
        self, name: str, *aliases: str, help: str, default: bool | None = False, shapes_result: bool = True,
        advanced: bool | None = None,
    ) -> None:  # fmt: skip
        """Declare a yes/no option: --x, --x=yes, --x=no and --no_x (or --no-x) all work."""
        self.add_argument(
            name, *aliases, help=help, default=default, shapes_result=shapes_result, advanced=advanced,
            type=boolean, nargs="?", const=True, metavar="yes|no",
        )  # fmt: skip
        self._owner.negations |= {f"no_{name[2:]}": name[2:], f"no-{name[2:]}": name[2:]}

    def introduce(self, hidden: set[str], family: str) -> None:
        """Start the group's section of --help with its purpose and an example, unless all of its options are hidden."""
        lines = [self.description, self.example and f"e.g. {self.example.format(family=family)}"]
        shown = set(self.names) - hidden
        self._group.description = "\n".join(filter(None, lines)) if shown else None

    def _refuse_argparse_habits(self, name: str, settings: dict[str, Any]) -> None:
        if not name.startswith("--"):
            raise UserError(f"{self._title} declares {name!r}: option names start with two dashes, --{name}")
        if "action" in settings:
            raise UserError(
                f"{self._title} declares {name} with action={settings['action']!r}: declare a yes/no option with "
                f'add_switch("{name}", help=...), and several values with nargs="+" or a type of util.values'
            )

    def add_keywords(self, name: str, **keywords: dict[str, Any]) -> None:
        """Declare named values of an option, e.g. add_keywords("--mode", standard={"x": 1}).

        Families and datasets can add words to a shared option; an unknown word is an error that lists all.
        """
        self._owner.keywords.setdefault(name[2:], {}).update(keywords)

    def add_argument_group(
        self, title: str, description: str | None = None, *, example: str = "", advanced: bool = False
    ) -> "OptionGroup":
        """A titled group; an existing one if the title is known.

        `example` is one line of options to copy, with {family} for the family's name. `advanced` applies to options
        that do not set it.
        """
        return self._owner.group(f"{self.title}: {title}", description, example=example, advanced=advanced)

    def add_alias(self, alias: str, name: str, mode: str | None = None) -> None:
        """Declare another spelling of a shared option, e.g. add_alias("--data_dir", "--dataroot").

        With `mode` it is only valid in that mode of test.py.
        """
        if not mode:
            self._owner.claim(alias, self._title)
        self._owner.add_alias(alias[2:], name[2:], mode)

    def accept_unused(self, *names: str) -> None:
        """Declare dotted keys of nested YAML files that are read without effect; a trailing * matches any ending.

        This takes precedence over their general meaning, e.g. for the section of another training stage.
        """
        self._owner.unused.extend(names)

    def set_defaults(self, **defaults: Any) -> None:
        """Set other defaults for options that may be declared elsewhere."""
        self._owner.overrides.update(defaults)

    def set_advanced(self, *names: str) -> None:
        """Move options that may be declared elsewhere to --help_all."""
        self._owner.advanced.update(names)


class OptionParser:
    """argparse with aliases, yes/no switches, layers of defaults, and validation of YAML values."""

    def __init__(self, command: str):
        self.parser = _Argparse(
            command,
            allow_abbrev=False,
            add_help=False,
            formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=30),
            usage=argparse.SUPPRESS,
        )
        self.family: str | None = None
        """The family whose options are declared here."""
        self.groups: dict[str, OptionGroup] = {}
        self.claims: dict[str, str] = {}
        self.actions: dict[str, argparse.Action] = {}
        self.aliases: dict[str, str] = {}
        self.mode_aliases: dict[str, tuple[str, str]] = {}
        self.negations: dict[str, str] = {}
        self.keywords: dict[str, dict[str, dict[str, Any]]] = {}
        self.unused: list[str] = []
        self.declared: dict[str, Any] = {}
        self.shape_results: set[str] = set()
        self.advanced: set[str] = set()
        self.overrides: dict[str, Any] = {}

    def group(
        self, title: str, description: str | None = None, *, example: str = "", advanced: bool = False
    ) -> OptionGroup:
        """A titled group of --help; an existing one if the title is known."""
        if title not in self.groups:
            self.groups[title] = OptionGroup(self, title, description, example, advanced)
        return self.groups[title]

    add_argument_group = group
    """argparse's method, so that shared declarations (data.landmarks) work with this parser, too."""

    def claim(self, spelling: str, title: str) -> None:
        """Record which part of the options declares a spelling; an error if it is taken."""
        name = spelling.replace("-", "_")
        if name in self.claims:
            raise UserError(
                f"{title} declares {spelling}, already declared by {self.claims[name]}. Choose another name, or "
                f"change the default of the existing option with set_defaults({name.lstrip('_')}=...)"
            )
        self.claims[name] = title

    def register(self, action: argparse.Action, aliases: Iterable[str], default: Any) -> None:
        """Register an option of a group."""
        self.actions[action.dest] = action
        self.declared[action.dest] = default
        for alias in aliases:
            self.add_alias(alias, action.dest)

    def add_alias(self, alias: str, name: str, mode: str | None = None) -> None:
        if mode:
            self.mode_aliases[alias] = name, mode
        else:
            self.aliases[alias] = name

    def use_mode(self, word: str | None) -> None:
        """Activate the aliases of the chosen --mode (or of the mode that its word stands for)."""
        used = self.keywords.get("mode", {}).get(word or "", {}).get("mode", word)
        for alias, (name, mode) in self.mode_aliases.items():
            if mode == used:
                self.add_alias(alias, name)
            else:
                self.unused.append(alias)

    def canonical(self, name: str) -> str | None:
        """The option of a spelling, or None."""
        if name in self.actions:
            return name
        return self.aliases.get(name)

    def is_unused(self, key: str) -> bool:
        """Whether a dotted key of a nested file has no effect."""
        return any(key == name or (name.endswith("*") and key.startswith(name[:-1])) for name in self.unused)

    def is_section(self, key: str) -> bool:
        """Whether other known keys start with this dotted key."""
        return any(name.startswith(f"{key}.") for name in (*self.aliases, *self.unused))

    def spellings(self) -> list[str]:
        """All accepted names."""
        return [*self.actions, *self.aliases, *self.negations]

    def default(self, name: str) -> Any:
        """The default of an option after family and dataset have set theirs."""
        return self.overrides.get(name, self.declared[name])

    def defaults(self, other: "OptionParser") -> dict[str, Any]:
        """All defaults. set_defaults may only name options of train.py or test.py."""
        unknown = set(self.overrides) - set(self.actions) - set(other.actions)
        if unknown:
            raise KeyError(f"set_defaults for options that nobody declares: {sorted(unknown)}")
        return {name: self.default(name) for name in self.actions}

    def parse(self, arguments: list[str], strict: bool = True, other: "OptionParser | None" = None) -> dict[str, Any]:
        """The values on the command line only; unknown names are errors unless in a first pass.

        The error says if the `other` command has the option.
        """
        if strict:
            self._refuse_removed_values(arguments)
        known, rest = self.parser.parse_known_args([self._translate(word) for word in arguments])
        if strict and rest:
            raise UserError(self._explain_unknown(rest[0], other))
        return vars(known)

    def convert(self, name: str, value: Any, where: str) -> Any:
        """Validate a value from a YAML file like one from the command line."""
        action = self.actions[name]
        read = cast(Converter, action.type)
        if value is None:
            return self._empty_value(name, where)
        if gone := replacement_of(f"{name}={value}"):
            raise UserError(f"{where}: no such value {value!r}.{gone}")
        try:
            if action.nargs in ("+", "*") or isinstance(action.nargs, int):
                return [read(item) for item in (value if isinstance(value, list) else [value])]
            return read(value)
        except argparse.ArgumentTypeError as error:
            raise UserError(f"{where}: {error}") from None

    def _empty_value(self, name: str, where: str) -> Any:
        """The value of null: None for options that accept it."""
        declared = self.declared[name]
        if declared is None or declared is False or declared in ("", []):
            return declared
        raise UserError(f"{where}: has no value; set one, or remove the line for the default {self.default(name)}")

    def expand(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values of one file or command line, with words replaced by their values."""
        expanded = {}
        for name, value in values.items():
            if name not in self.keywords:
                expanded[name] = value
            elif value in self.keywords[name]:
                expanded |= {name: value} | self.keywords[name][value]
            else:
                raise UserError(
                    f"--{name} {value}: with this family (--model), choose from {', '.join(self.keywords[name])}"
                )
        return expanded

    def suggest(self, name: str) -> str:
        """ " Did you mean ...?" for a misspelt name, the replacement of an original's option, or an empty string."""
        if gone := replacement_of(name):
            return gone
        nearest = get_close_matches(name, [s for s in self.spellings() if ("." in s) == ("." in name)], 1, 0.6)
        return f" Did you mean {nearest[0]}?" if nearest else ""

    def format_help(self, introduction: str, epilog: str, family: str, everything: bool = True) -> str:
        """The help text with the defaults of this family and dataset; with `everything` also advanced options.

        `family` is the name in examples.
        """
        self.parser.description, self.parser.epilog = introduction, epilog
        hidden = set() if everything else self.advanced
        for name, action in self.actions.items():
            if name in self.keywords:
                action.metavar = "|".join(self.keywords[name])
            default = self.default(name)
            if default not in (None, "", []):
                action.help = (action.help or "") + f" [{spelled(default)}]".replace("%", "%%")
            if name in hidden:
                action.help = argparse.SUPPRESS
        for group in self.groups.values():
            group.introduce(hidden, family)
        return self.parser.format_help()

    def plain_help(self, name: str) -> str:
        """The help text of an option, without its aliases and its default."""
        return (self.actions[name].help or "").split(" (also --")[0].replace("%%", "%")

    def hidden_options(self) -> dict[str, int]:
        """The number of options per group that only --help_all shows."""
        counts = {title: len(self.advanced.intersection(group.names)) for title, group in self.groups.items()}
        return {title: number for title, number in counts.items() if number}

    def _translate(self, word: str) -> str:
        if not word.startswith("--"):
            return word
        name, equals, value = word[2:].partition("=")
        if name in self.negations and name not in self.actions and not equals:
            return f"--{self.negations[name]}=no"
        return f"--{self.aliases.get(name, name)}{equals}{value}"

    def _explain_unknown(self, word: str, other: "OptionParser | None") -> str:
        if not word.startswith("-"):
            if gone := replacement_of(word):
                return f"{word}: no such command.{gone}"
            return f"'{word}' is not expected here; options are written --name=value"
        name = word.lstrip("-").partition("=")[0]
        hint = self.suggest(name).replace("Did you mean ", "Did you mean --")
        if other and other.canonical(name) and not replacement_of(name):
            hint = f" It is an option of {other.parser.prog}."
        return f"{word.partition('=')[0]}: no such option.{hint} See --help (a family's own: --model X --help)."

    def _refuse_removed_values(self, arguments: list[str]) -> None:
        for word, following in pairwise([*arguments, ""]):
            name, equals, value = word.removeprefix("--").partition("=")
            value = value if equals else following
            if gone := replacement_of(f"{name}={value}"):
                raise UserError(f"--{name}: no such value {value!r}.{gone}")


def spelled(value: Any) -> str:
    """A value as it stands on a command line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ",".join(f"{key}={spelled(item)}" for key, item in value.items())
    return ",".join(map(spelled, value)) if isinstance(value, (list, tuple)) else str(value)


def _with_aliases(help: str, aliases: list[str]) -> str:
    shown = [f"--{alias}" for alias in aliases if "." not in alias]
    return (f"{help} (also {', '.join(shown)})" if shown else help).replace("%", "%%")
