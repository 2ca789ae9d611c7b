"""What a command animates, one job after the other: pairs read and cut, results written."""
