//! Word lists that every specification has; a list of the same name under `lists:` takes its place.

use super::template::Lists;

const BUILT_IN: &[(&str, &str)] = &[
    (
        "first_name",
        "Ada Amir Ana Ben Carla Chen Dana Elif Emil Femi Grace Hana Igor Ines Jonas Kaya Lena Leo Maya Mina Nadia Noah Olga Omar Petra Quinn Rosa Sami Tara Theo Uma Vera Wanda Yara Yusuf Zoe",
    ),
    (
        "last_name",
        "Abebe Alvarez Becker Brandt Castillo Dahl Dubois Eriksen Fischer Garza Haddad Ibarra Jansen Kimura Kowal Lindgren Marsh Moreau Nakata Novak Okafor Ortega Petrov Quist Rahman Romano Sato Silva Takeda Ueda Varga Weber Winter Xu Yilmaz Zeller",
    ),
    (
        "word",
        "amber anchor basin birch canal cedar cliff cloud copper coral delta dune ember falcon fern field flint forest garden glacier grove harbor hazel heron island ivory jade juniper lagoon lantern maple marble meadow mesa mist moss ocean olive orchid pebble pine prairie quartz raven reef river sable sage shore slate spruce stone summit thistle tide timber valley willow",
    ),
    (
        "city",
        "Ashford Bayview Brookfield Cedarville Clearwater Eastport Fairmont Glenwood Greenfield Hillcrest Kingsbury Lakeside Maplewood Milford Northgate Oakdale Pinehurst Riverton Rosewood Southgate Springdale Stonebridge Westfield Woodbury",
    ),
];

/// The built-in lists, without those that `own` replaces.
pub(super) fn lists(own: &std::collections::BTreeMap<String, Vec<String>>) -> Lists {
    let built_in = BUILT_IN.iter().map(|(name, words)| {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        ((*name).to_owned(), words.into())
    });
    let own = own
        .iter()
        .map(|(name, words)| (name.clone(), words.as_slice().into()));
    built_in.chain(own).collect()
}
