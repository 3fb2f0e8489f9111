//! The rules, named as in Confluent Schema Registry's list for JSON Schema.

use std::fmt;

/// The origin of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleSource {
    /// A Confluent difference that is not among its compatible changes.
    Confluent,
    /// A draft 2020-12 keyword that Confluent's list lacks or covers with another difference.
    Draft202012,
}

/// Defines [`CompatibilityRule`] from a list of names, sources and meanings.
macro_rules! rules {
    ($($rule:ident = $name:literal, $source:ident, $meaning:literal;)+) => {
        /// What a reader's schema requires that a writer's schema does not promise.
        ///
        /// Names are those of Confluent Schema Registry's `Difference.Type` (`json-schema-provider`, package `diff`) in
        /// lower case, of those differences that `SchemaDiff.COMPATIBLE_CHANGES` does not list; [`Self::source`] says
        /// which are our own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CompatibilityRule {
            $(
                #[doc = concat!("`", $name, "`: the writer's value ", $meaning, ".")]
                $rule,
            )+
        }

        impl CompatibilityRule {
            /// Every rule.
            pub const ALL: [Self; [$(Self::$rule),+].len()] = [$(Self::$rule),+];

            /// The rule's name in reports.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)+
                }
            }

            /// The predicate of a report, after the property's name.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$rule => $meaning,)+
                }
            }

            /// Where it is from.
            #[must_use]
            pub const fn source(self) -> RuleSource {
                match self {
                    $(Self::$rule => RuleSource::$source,)+
                }
            }
        }
    };
}

rules! {
    TypeChanged = "type_changed", Confluent, "has another type";
    TypeNarrowed = "type_narrowed", Confluent, "may have a type that the reader does not accept";
    MaxLengthAdded = "max_length_added", Confluent, "may be longer than the reader accepts";
    MaxLengthDecreased = "max_length_decreased", Confluent, "may be longer than the reader accepts";
    MinLengthAdded = "min_length_added", Confluent, "may be shorter than the reader accepts";
    MinLengthIncreased = "min_length_increased", Confluent, "may be shorter than the reader accepts";
    PatternAdded = "pattern_added", Confluent, "need not match the reader's pattern";
    PatternChanged = "pattern_changed", Confluent, "has another pattern";
    MaximumAdded = "maximum_added", Confluent, "may be greater than the reader accepts";
    MaximumDecreased = "maximum_decreased", Confluent, "may be greater than the reader accepts";
    MinimumAdded = "minimum_added", Confluent, "may be less than the reader accepts";
    MinimumIncreased = "minimum_increased", Confluent, "may be less than the reader accepts";
    ExclusiveMaximumAdded = "exclusive_maximum_added", Confluent, "may be greater than the reader accepts";
    ExclusiveMaximumDecreased = "exclusive_maximum_decreased", Confluent, "may be greater than the reader accepts";
    ExclusiveMinimumAdded = "exclusive_minimum_added", Confluent, "may be less than the reader accepts";
    ExclusiveMinimumIncreased = "exclusive_minimum_increased", Confluent, "may be less than the reader accepts";
    MultipleOfAdded = "multiple_of_added", Confluent, "need not be a multiple that the reader accepts";
    MultipleOfExpanded = "multiple_of_expanded", Confluent, "need not be a multiple that the reader accepts";
    MultipleOfChanged = "multiple_of_changed", Confluent, "is a multiple of something else";
    RequiredAttributeAdded = "required_attribute_added", Confluent, "may be missing, but the reader requires it";
    MaxPropertiesAdded = "max_properties_added", Confluent, "may have more properties than the reader accepts";
    MaxPropertiesDecreased = "max_properties_decreased", Confluent, "may have more properties than the reader accepts";
    MinPropertiesAdded = "min_properties_added", Confluent, "may have fewer properties than the reader accepts";
    MinPropertiesIncreased = "min_properties_increased", Confluent, "may have fewer properties than the reader accepts";
    AdditionalPropertiesNarrowed = "additional_properties_narrowed", Confluent,
        "may have additional properties of a kind that the reader does not accept";
    DependencyArrayAdded = "dependency_array_added", Confluent, "may be present without the properties that the reader requires with it";
    DependencyArrayExtended = "dependency_array_extended", Confluent,
        "may be present without the properties that the reader requires with it";
    DependencySchemaAdded = "dependency_schema_added", Confluent, "may be present with properties that the reader does not accept with it";
    RequiredPropertyAddedToUnopenContentModel = "required_property_added_to_unopen_content_model", Confluent,
        "is never present, but the reader requires it";
    RequiredPropertyAddedToOpenContentModel = "required_property_added_to_open_content_model", Confluent,
        "may be absent, but the reader requires it";
    PropertyAddedToOpenContentModel = "property_added_to_open_content_model", Confluent,
        "may be present with any value, because the writer's schema allows additional properties; close it first, in a \
         version with \"additionalProperties\": false";
    PropertyAddedNotCoveredByPartiallyOpenContentModel = "property_added_not_covered_by_partially_open_content_model",
        Confluent, "may be present as an additional property of the writer, of a kind that the reader does not accept";
    MaxItemsAdded = "max_items_added", Confluent, "may have more items than the reader accepts";
    MaxItemsDecreased = "max_items_decreased", Confluent, "may have more items than the reader accepts";
    MinItemsAdded = "min_items_added", Confluent, "may have fewer items than the reader accepts";
    MinItemsIncreased = "min_items_increased", Confluent, "may have fewer items than the reader accepts";
    UniqueItemsAdded = "unique_items_added", Confluent, "may have equal items, which the reader does not accept";
    AdditionalItemsRemoved = "additional_items_removed", Confluent,
        "may have additional items, which the reader does not accept";
    AdditionalItemsNarrowed = "additional_items_narrowed", Confluent,
        "may have items of a kind that the reader does not accept";
    ItemAddedToOpenContentModel = "item_added_to_open_content_model", Confluent, "may be anything at that index";
    EnumArrayNarrowed = "enum_array_narrowed", Confluent, "may have a value that the reader does not list";
    SumTypeNarrowed = "sum_type_narrowed", Confluent, "may be of an alternative that the reader does not have";
    CombinedTypeChanged = "combined_type_changed", Confluent, "need not match the reader's anyOf or oneOf";
    NotTypeExtended = "not_type_extended", Confluent, "may be what the reader excludes";
    EnumAdded = "enum_added", Draft202012, "may have a value that the reader does not list";
    ConstChanged = "const_changed", Draft202012, "may have a value other than the reader's only one";
    FormatAdded = "format_added", Draft202012, "need not have the reader's format";
    FormatChanged = "format_changed", Draft202012, "has another format";
    FormatLimitAdded = "format_limit_added", Draft202012, "may be earlier or later than the reader accepts";
    FormatLimitNarrowed = "format_limit_narrowed", Draft202012, "may be earlier or later than the reader accepts";
    PatternPropertiesAdded = "pattern_properties_added", Draft202012, "may be of a kind that the reader does not accept";
    PropertyNamesNarrowed = "property_names_narrowed", Draft202012, "may have names that the reader does not accept";
    ContainsChanged = "contains_changed", Draft202012, "need not contain what the reader requires";
    ConditionChanged = "condition_changed", Draft202012, "need not satisfy the reader's if, then and else";
    UnevaluatedChanged = "unevaluated_changed", Draft202012, "may have additional parts that the reader does not accept";
}

impl fmt::Display for CompatibilityRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
